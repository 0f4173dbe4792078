//! One request as a page of 80 columns: the same evidence in the same order as in the console.

use super::{Node, general, limits, times::Times};
use crate::cli::terminal::{self, BOLD, Colour, DIM, WIDTH, grouped};

/// Kinds of error of one request that are shown in full; a client may send one id with many calls.
const SHOWN_KINDS: usize = 3;

/// Rows of the timeline; the ones around the request are kept.
const TIMELINE_ROWS: usize = 12;

/// Columns of a field's name; longer ones get a line of their own.
const FIELD_COLUMNS: usize = 18;

/// What a collector that sends no sentence of its own means by a pending request.
const PENDING: &str = "It was received and is safe; it is not queryable yet. Look it up again in a few seconds.";

/// Columns of the general error beside the headline.
const BADGE_COLUMNS: usize = 40;

/// Renders the answer of a lookup.
/// With `body` the stored response bodies too.
pub fn render(data: Node<'_>, colour: Colour, times: &Times, body: bool) -> String {
    let mut page = Page { text: String::new(), colour, times, body };
    if data.raw("state") == "pending" {
        page.pending(data);
    } else {
        page.found(data);
    }
    page.text
}

struct Page<'a> {
    text: String,
    colour: Colour,
    times: &'a Times,
    body: bool,
}

impl Page<'_> {
    fn pending(&mut self, data: Node<'_>) {
        let message = data.long_text("message");
        let message = if message.is_empty() { PENDING.to_owned() } else { message };
        self.line(&format!("pending: {}", data.text("request_id")));
        self.wrapped(&message, "  ");
    }

    fn found(&mut self, data: Node<'_>) {
        let explanations: Vec<_> = data.list("explanation").collect();
        let mut kinds: Vec<String> = Vec::new();
        let events: Vec<_> = data.list("events").enumerate().collect();
        // The latest first: it is what the customer saw last.
        for (index, event) in events.iter().rev() {
            let kind = event.raw("fingerprint");
            if kinds.contains(&kind) && !kind.is_empty() {
                continue;
            }
            kinds.push(kind);
            if kinds.len() <= SHOWN_KINDS {
                self.event(data, *event, explanations.get(*index).copied());
            }
        }
        if events.len() > 1 {
            let more = kinds.len().saturating_sub(SHOWN_KINDS);
            let more = if more > 0 { format!(", {more} more kinds by --json") } else { String::new() };
            let (first, last) = (self.times.short(&data.raw("first_seen")), self.times.short(&data.raw("last_seen")));
            self.line("");
            self.wrapped(&format!("{} events carry this id, {first} to {last}{more}.", events.len()), "");
        }
        self.impact(data);
        let limit = limits::lines(data.get("rate_limit"), self.times);
        self.section("Rate limit", &limit);
        let reply = terminal::wrap(&data.long_text("customer_reply"), WIDTH - 2);
        self.section("Reply to the customer", &reply);
        self.timeline(data);
        self.links(data.get("links"));
    }

    /// Headline, where and when, what went wrong.
    fn event(&mut self, data: Node<'_>, event: Node<'_>, explanation: Option<Node<'_>>) {
        let status = event.count("status").unwrap_or_default();
        let error = general::short(event);
        let headline = explanation.map(|node| node.text("headline")).filter(|text| !text.is_empty());
        let headline = headline.unwrap_or_else(|| error.clone());
        if !self.text.is_empty() {
            self.line("");
        }
        self.headline(&headline, status, &terminal::cut(&error, BADGE_COLUMNS));
        let id = event.text("request_id");
        self.line(&if id.is_empty() { data.text("request_id") } else { id });
        let where_from = [joined_by(" ", &[event.text("method"), place(event)]), service(event)];
        self.wrapped(&joined(&where_from), "");
        let who = [labelled("account", event, "account_id"), labelled("user", event, "user_id")];
        self.wrapped(&joined(&[self.times.full(&event.raw("timestamp")), joined(&who)]), "");
        self.what_went_wrong(event, explanation, &headline);
    }

    fn headline(&mut self, headline: &str, status: u64, error: &str) {
        let badge =
            if error.is_empty() || headline == error { status.to_string() } else { format!("{status} {error}") };
        let painted = self.colour.paint(terminal::status_style(status), &badge);
        let used = terminal::columns(headline) + terminal::columns(&badge);
        if used + 2 <= WIDTH {
            let gap = " ".repeat(WIDTH - used);
            let headline = self.colour.paint(BOLD, headline);
            self.line(&format!("{headline}{gap}{painted}"));
        } else {
            for line in terminal::wrap(headline, WIDTH) {
                let line = self.colour.paint(BOLD, &line);
                self.line(&line);
            }
            self.line(&painted);
        }
    }

    fn what_went_wrong(&mut self, event: Node<'_>, explanation: Option<Node<'_>>, headline: &str) {
        self.title("What went wrong");
        let shown = general::short(event);
        // Beside the headline there is room for a short one only.
        if general::is_longer(event) || shown != headline && terminal::columns(&shown) > BADGE_COLUMNS {
            self.entry("Error", &general::long(event), 2);
        }
        let explained: Vec<_> = explanation.map(|node| node.list("fields").collect()).unwrap_or_default();
        let fields: Vec<_> = if explained.is_empty() { event.list("errors").collect() } else { explained };
        for field in &fields {
            self.field(*field);
        }
        if let Some(status) = explanation.map(|node| node.get("status")) {
            // With field errors the status says little more; without, it is the explanation.
            if fields.is_empty() {
                let error = explanation.map_or(status, |node| node.get("error"));
                let own = error.text("solution");
                self.wrapped(&joined(&[status.text("meaning"), labelled_by("rule: ", &error.text("rule"))]), "  ");
                self.entry("Causes", &status.texts("causes").join("; "), 2);
                self.entry("Solution", &if own.is_empty() { status.text("solution") } else { own }, 2);
            }
        }
        self.entry("Scenario", &explanation.map(|node| scenario(node)).unwrap_or_default(), 2);
        let exception = event.get("exception");
        if exception.is_some() {
            let text = format!("{}: {}", exception.text("type"), exception.text("message"));
            self.entry("Exception", &terminal::cut(&text, 300), 2);
        }
        let frame = general::last_frame(&match general::traceback(event) {
            Some(traceback) if !exception.is_some() => traceback,
            _ => exception.raw("stacktrace"),
        });
        self.entry("at", &terminal::cut(&terminal::clean(&frame), 200), 2);
        if self.body {
            self.response(event.get("response"));
        }
    }

    /// The stored body, escaped; its lines are not wrapped, so that it can be copied.
    fn response(&mut self, response: Node<'_>) {
        self.title("Response body");
        for line in response.body().lines() {
            self.indented(line, 2);
        }
    }

    fn field(&mut self, field: Node<'_>) {
        let path = field.text("path");
        let name = if path.is_empty() { field.text("field") } else { path };
        let name = if name.is_empty() { "(no field)".to_owned() } else { name };
        let indent = FIELD_COLUMNS + 2;
        let message = terminal::wrap(&field.text("message"), WIDTH - indent);
        if terminal::columns(&name) < FIELD_COLUMNS {
            let first = message.first().cloned().unwrap_or_default();
            let name = self.colour.paint(BOLD, &terminal::pad(&name, FIELD_COLUMNS));
            self.line(format!("  {name}{first}").trim_end());
        } else {
            for line in terminal::wrap(&name, WIDTH - 2) {
                let line = self.colour.paint(BOLD, &line);
                self.line(&format!("  {line}"));
            }
            self.indented(message.first().map_or("", String::as_str), indent);
        }
        for line in message.iter().skip(1) {
            self.indented(line, indent);
        }
        let documented = field.flag("documented").map(|yes| if yes { "documented" } else { "not documented" });
        let rule = labelled_by("rule: ", &field.text("rule"));
        let facts = joined(&[documented.unwrap_or_default().to_owned(), rule, field.text("module")]);
        for line in terminal::wrap(&facts, WIDTH - indent) {
            let line = self.colour.paint(DIM, &line);
            self.indented(&line, indent);
        }
        let cause = field.text("cause");
        let cause = if cause.is_empty() { field.text("description") } else { cause };
        self.entry("Cause", &cause, indent);
        self.entry("Solution", &field.text("solution"), indent);
    }

    fn impact(&mut self, data: Node<'_>) {
        let impact = data.get("impact");
        let has_account = has_account(data);
        if !impact.is_some() {
            return;
        }
        let mut lines = Vec::new();
        let counts: Vec<_> = impact.list("buckets").map(|bucket| bucket.count("events").unwrap_or_default()).collect();
        let events = impact.count("events").unwrap_or_default();
        let accounts = impact.count("accounts").unwrap_or_default();
        let plural = |count, one: &str| format!("{} {one}{}", grouped(count), if count == 1 { "" } else { "s" });
        // A service whose events name no account has no accounts to count.
        let accounts = if accounts > 0 { format!(", {}", plural(accounts, "account")) } else { String::new() };
        let around = format!("{}{accounts} in the hour around", plural(events, "event"));
        lines.push(joined_by(" ", &[spark(&counts), around]));
        if let Some(share) = impact.number("account_share").filter(|_| has_account) {
            let own = impact.count("account_events").map(|count| format!(" ({})", grouped(count))).unwrap_or_default();
            lines.push(format!("this account: {:.0} % of them{own}", share * 100.0));
        }
        let (first, last) = (self.times.short(&impact.raw("first_seen")), self.times.short(&impact.raw("last_seen")));
        if !first.is_empty() {
            lines.push(joined_by(", ", &[format!("the first of them {first}"), labelled_by("last ", &last)]));
        }
        let releases = impact.texts("releases");
        if !releases.is_empty() {
            lines.push(format!(
                "in {} {}",
                if releases.len() == 1 { "release" } else { "releases" },
                releases.join(", ")
            ));
        }
        let lines: Vec<_> = lines.iter().flat_map(|line| terminal::wrap(line, WIDTH - 2)).collect();
        self.section("How widespread", &lines);
    }

    fn timeline(&mut self, data: Node<'_>) {
        let id = data.raw("request_id");
        let own: Vec<_> = data.list("events").map(|event| (event, true)).collect();
        let others = data.list("related").filter(|event| event.raw("request_id") != id).map(|event| (event, false));
        let mut rows: Vec<_> = own.into_iter().chain(others).collect();
        rows.sort_by_key(|(event, _)| event.raw("timestamp"));
        let this = rows.iter().rposition(|(_, is_own)| *is_own).unwrap_or_default();
        let start = this.saturating_sub(TIMELINE_ROWS / 2).min(rows.len().saturating_sub(TIMELINE_ROWS));
        let hidden = rows.len().saturating_sub(TIMELINE_ROWS);
        self.title(if has_account(data) {
            "Timeline of this request and of the account around it"
        } else {
            "Timeline of this request"
        });
        for (event, is_own) in rows.into_iter().skip(start).take(TIMELINE_ROWS) {
            let mark = if is_own { "▸" } else { " " };
            let status = event.count("status").unwrap_or_default();
            let painted = self.colour.paint(terminal::status_style(status), &status.to_string());
            let route = terminal::cut(&joined_by(" ", &[event.text("method"), place(event)]), 36);
            let what = if is_own { "this request".to_owned() } else { event.text("error") };
            let clock = self.times.clock(&event.raw("timestamp"));
            let row = format!("{} {}", terminal::pad(&route, 36), terminal::cut(&what, 24));
            self.line(&format!("{mark} {} {painted} {}", terminal::pad(&clock, 8), row.trim_end()));
        }
        if hidden > 0 {
            self.line(&format!("  … {} further by --json", grouped(hidden as u64)));
        }
    }

    fn links(&mut self, links: Node<'_>) {
        let links: Vec<_> =
            ["console", "self"].iter().map(|key| links.text(key)).filter(|link| !link.is_empty()).collect();
        if let Some(link) = links.first() {
            let link = self.colour.paint(DIM, link);
            self.line("");
            self.line(&link);
        }
    }

    fn section(&mut self, title: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.title(title);
            for line in lines {
                self.indented(line, 2);
            }
        }
    }

    fn title(&mut self, title: &str) {
        let title = self.colour.paint(BOLD, title);
        self.line("");
        self.line(&title);
    }

    /// `Label: text`, wrapped below itself; nothing without a text.
    fn entry(&mut self, label: &str, text: &str, indent: usize) {
        if text.is_empty() {
            return;
        }
        for line in terminal::wrap(&format!("{label}: {text}"), WIDTH - indent) {
            self.indented(&line, indent);
        }
    }

    fn wrapped(&mut self, text: &str, indent: &str) {
        for line in terminal::wrap(text, WIDTH - indent.len()) {
            self.line(&format!("{indent}{line}"));
        }
    }

    fn indented(&mut self, line: &str, indent: usize) {
        let text = format!("{}{line}", " ".repeat(indent));
        self.line(text.trim_end());
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// The route, else the path.
fn place(event: Node<'_>) -> String {
    let route = event.text("route");
    if route.is_empty() { event.text("path") } else { route }
}

fn has_account(data: Node<'_>) -> bool {
    data.list("events").any(|event| !event.raw("account_id").is_empty())
}

/// `igny8-api 2026.11.2 (staging)`; production goes without saying.
fn service(event: Node<'_>) -> String {
    let environment = event.text("environment");
    let environment = match environment.as_str() {
        "" | "production" => String::new(),
        other => format!("({other})"),
    };
    joined_by(" ", &[event.text("service"), event.text("release"), environment])
}

fn scenario(explanation: Node<'_>) -> String {
    let scenario = explanation.get("scenario");
    let (title, solution) = (scenario.text("title"), scenario.text("solution"));
    if title.is_empty() { explanation.text("scenario") } else { joined_by(": ", &[title, solution]) }
}

fn labelled(label: &str, node: Node<'_>, key: &str) -> String {
    labelled_by(&format!("{label} "), &node.text(key))
}

fn labelled_by(label: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{label}{text}") }
}

fn joined(parts: &[String]) -> String {
    joined_by(" · ", parts)
}

/// The parts that are not empty.
fn joined_by(separator: &str, parts: &[String]) -> String {
    let parts: Vec<_> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(separator)
}

/// Counts as a row of blocks; the tallest is the most.
fn spark(counts: &[u64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or_default();
    if most == 0 {
        return String::new();
    }
    // Wide rows are folded by the larger of the neighbours, so that they fit and lose no peak.
    let per_block = counts.len().div_ceil(30).max(1);
    let peaks = counts.chunks(per_block).map(|chunk| chunk.iter().copied().max().unwrap_or_default());
    peaks.map(|count| BLOCKS[(count as f64 / most as f64 * 7.0).ceil() as usize]).collect()
}
