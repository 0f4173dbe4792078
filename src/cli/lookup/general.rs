//! The general error of an event, short and long, and where in the code it came from.

use super::Node;
use crate::cli::terminal;

/// How a Python traceback begins.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// One harmless line to stand beside the status: the first; of a traceback the last, which names the exception; without
/// the status that the pages of proxies begin with (`502 Bad Gateway`).
pub fn short(event: Node<'_>) -> String {
    let text = traceback(event).unwrap_or_else(|| event.raw("error"));
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = if text.contains(TRACEBACK) { lines.next_back() } else { lines.next() }.unwrap_or_default();
    let rest =
        line.strip_prefix(&event.raw("status")).filter(|rest| !rest.starts_with(|next: char| !next.is_whitespace()));
    terminal::clean(rest.map_or(line, str::trim_start))
}

/// Whether there is more than [`short`] says, which the page does not show elsewhere.
pub fn is_longer(event: Node<'_>) -> bool {
    traceback(event).is_none() && event.raw("error").trim().contains('\n')
}

/// All of it; a traceback is told by its exception and frame, and shown in whole with the body.
pub fn long(event: Node<'_>) -> String {
    if traceback(event).is_some() { short(event) } else { event.long_text("error") }
}

/// The traceback that an API sent as its error. The event's own text of it may be cut, the body is longer.
pub fn traceback(event: Node<'_>) -> Option<String> {
    if event.count("status").unwrap_or_default() < 500 {
        return None;
    }
    ["response", "error"].iter().map(|key| event.raw(key)).find(|text| text.contains(TRACEBACK))
}

/// The innermost frame: of the last traceback in Python, of the first lines elsewhere (`at …`). One of the API's own code
/// is preferred to those of libraries.
pub fn last_frame(stacktrace: &str) -> String {
    let lines = || stacktrace.lines().map(str::trim);
    let mut frames: Vec<_> = lines().rev().filter(|line| line.starts_with("File \"")).collect();
    frames.extend(lines().filter_map(|line| line.strip_prefix("at ")));
    let is_own = |frame: &&&str| !LIBRARIES.iter().any(|place| frame.contains(place));
    frames.iter().find(is_own).or(frames.first()).map(|frame| (*frame).to_owned()).unwrap_or_default()
}

/// Where code lies that is not the API's own.
const LIBRARIES: [&str; 5] = ["site-packages", "dist-packages", "/lib/python", "node_modules", "node:internal"];
