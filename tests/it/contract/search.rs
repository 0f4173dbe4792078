//! Exports and counts of the event search. Pages of it: `store::search`, `captured::counts`.

use std::time::Duration;

use errata::state::{Role, State};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Answer, outage::eventually, token};
use crate::{
    captured::{self, Readme, SPAN},
    collector::{Collector, NOW_MS, config, event},
    faults::{engine::Engine, proxy::Proxy},
};

const LONG: Duration = Duration::from_secs(60);

/// The answer to a GET as it comes over the wire, from its status line on.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) async fn get(collector: &Collector, token: &str, path: &str, headers: &str) -> Self {
        let address = collector.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n{headers}Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Reads until the end of the text from the last time on is enough.
    pub(crate) async fn until(&mut self, is_enough: impl Fn(&str) -> bool) -> String {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let end = &self.read[self.read.len().saturating_sub(256 << 10)..];
            let text = String::from_utf8_lossy(end).into_owned();
            if is_enough(&text) {
                return String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
            }
            let count =
                timeout(LONG, self.stream.read(&mut buffer)).await.unwrap_or_else(|_| panic!("no more: {text}"));
            match count.unwrap() {
                0 => panic!("the end: {text}"),
                count => self.read.extend(&buffer[..count]),
            }
        }
    }

    /// Everything until the other side closes.
    pub(crate) async fn rest(mut self) -> String {
        timeout(LONG, self.stream.read_to_end(&mut self.read)).await.expect("it stays open").unwrap();
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// Ships events of 32 KiB, as many to a request as one takes well.
async fn ship_large(collector: &Collector, count: usize, more: impl Fn(&mut Value)) {
    let long = "long ".repeat(6400);
    let events: Vec<Value> = (0..count)
        .map(|index| {
            let mut event = event(&format!("req_{index}"), 422);
            event["response"] = json!(format!("{long}{index}"));
            more(&mut event);
            event
        })
        .collect();
    for part in events.chunks(100) {
        assert_eq!(collector.ship(part).await.0, 202);
    }
    collector.delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_event_once_and_its_trailers_say_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let capture = captured::capture();
    let [lines] = Readme::read().numbers(r"drf-exchanges\.ndjson\.gz \(errors, by time\) \| (\d+) \|");
    assert_eq!(captured::ship(&collector, &capture).await, [lines, 0, 0]);
    collector.delivered().await;

    let path = format!("/api/v1/events?{SPAN}&format=ndjson");
    let answer = Answer::to(collector.request(Method::GET, &path)).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/x-ndjson")));
    let name = "attachment; filename=\"errata-events-20261117T000000Z-20261119T000000Z.ndjson\"";
    assert_eq!(answer.header("content-disposition"), Some(name));
    assert_eq!(answer.header("x-export-limit"), Some("1000000"));
    answer.check_headers("export");
    let events: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len() as u64, lines);
    let ids: std::collections::BTreeSet<&str> =
        events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len() as u64, lines);
    assert!(events.windows(2).all(|two| two[0]["timestamp"].as_str() >= two[1]["timestamp"].as_str()));
    let (_, page) = collector.get(&format!("/api/v1/events?{SPAN}&limit=3")).await;
    assert_eq!(page["data"]["events"].as_array().unwrap()[..], events[..3]);

    let answer =
        Answer::to(collector.request(Method::GET, &format!("/api/v1/events?{SPAN}&format=csv&status=5xx"))).await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let records: Vec<&str> = answer.text.split_terminator("\r\n").collect();
    let errors = events.iter().filter(|event| event["status"].as_u64() >= Some(500)).count();
    assert_eq!(records.len(), 1 + errors);
    assert!(records[0].starts_with("timestamp,received_at,request_id,status,"), "{}", records[0]);

    // What ends at its limit says where the next one begins.
    let path = format!("/api/v1/events?{SPAN}&format=ndjson&limit=1200");
    let text = Wire::get(&collector, &collector.token, &path, "TE: trailers\r\n").await.rest().await;
    let (_, trailers) = text.rsplit_once("\r\n0\r\n").expect("the last chunk");
    assert!(trailers.contains("x-export-events: 1200\r\n"), "{trailers:?}");
    let cursor = trailers.lines().find_map(|line| line.strip_prefix("x-next-cursor: ")).unwrap();
    let (_, page) = collector.get(&format!("/api/v1/events?{SPAN}&limit=1&cursor={cursor}")).await;
    assert_eq!(page["data"]["events"][0], events[1200]);
    let text =
        Wire::get(&collector, &collector.token, &format!("{path}&status=500"), "TE: trailers\r\n").await.rest().await;
    assert!(text.ends_with("x-export-events: 831\r\n\r\n"), "{:?}", &text[text.len() - 200..]);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_its_whole_day_wherever_times_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let times =
        ["2026-11-16T23:59:59.999Z", "2026-11-17T00:00:00Z", "2026-11-17T23:59:59.999Z", "2026-11-18T00:00:00Z"];
    let events: Vec<Value> = times
        .iter()
        .map(|time| {
            let mut event = event(&format!("req_{time}"), 422);
            event["timestamp"] = json!(time);
            event
        })
        .collect();
    assert_eq!(collector.ship(&events).await.0, 202);
    collector.delivered().await;
    let found = async |range: &str| {
        let (status, body) = collector.get(&format!("/api/v1/events?{range}")).await;
        assert_eq!(status, 200, "{range}: {body}");
        body["data"]["events"].as_array().unwrap().iter().map(|event| event["timestamp"].clone()).collect::<Vec<_>>()
    };
    let stored = |times: &[&str]| -> Vec<Value> {
        times.iter().rev().map(|time| json!(time.replace("00:00Z", "00:00.000Z"))).collect()
    };
    assert_eq!(found("from=2026-11-17&to=2026-11-17").await, stored(&times[1..3]));
    assert_eq!(found("to=2026-11-17").await, stored(&times[1..3]));
    assert_eq!(found("from=2026-11-16&to=2026-11-17").await, stored(&times[..3]));
    assert_eq!(found("from=2026-11-18&to=now").await, stored(&times[3..]));
    for (path, range) in [("rates", "from=2026-11-17&to=2026-11-17"), ("issues", "from=2026-11-17&to=2026-11-18")] {
        let (_, body) = collector.get(&format!("/api/v1/{path}?{range}")).await;
        assert_eq!(body["data"]["from"], "2026-11-17T00:00:00.000Z", "{path}: {body}");
    }
    let replay = json!({"from": "2026-11-17", "to": "2026-11-17"});
    let asked = collector.request(Method::POST, "/api/v1/alerts/test").json(&replay);
    let (_, body) = crate::collector::answer(asked).await;
    let ends = ["from", "to"].map(|name| body["data"][name].as_str().unwrap_or_default());
    assert_eq!(ends, ["2026-11-17T00:00:00.000Z", "2026-11-18T00:00:00.000Z"], "{body}");
    for (bad, name, why) in [
        ("from=2026-02-30", "from", "there is no 2026-02-30 in the calendar; expected RFC 3339"),
        ("to=2026-13-01", "to", "there is no 2026-13-01 in the calendar; expected RFC 3339"),
        ("from=17.11.2026", "from", "expected RFC 3339 (2026-11-22T10:00:00Z), a date (2026-11-22, UTC)"),
        ("from=2026-11-18&to=2026-11-17", "from", "must be before `to`"),
    ] {
        let (status, body) = collector.get(&format!("/api/v1/events?{bad}")).await;
        let told = body["errors"][name][0].as_str().unwrap_or_default();
        assert!(status == 400 && told.starts_with(why), "{bad}: {body}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_ends_early_says_so_and_is_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let proxy = Proxy::start(engine.port()).await;
    let mut config = config(&dir.path().join("data"));
    config.clickhouse.url = Engine::url_through(proxy.port());
    config.clickhouse.database = "errata".into();
    let collector = Collector::with(config).await;
    // Pages are of 500 events or 8 MiB, so these are several; the buffers on the way hold one or two. A file of CSV has the messages alone.
    let messages: Vec<_> = (0..14).map(|number| format!("{number} {}", "long ".repeat(400))).collect();
    ship_large(&collector, 900, |event| event["response"] = json!({"errors": {"site_id": messages}})).await;
    let broken = "export_error: this export ends before its end: the store does not answer";
    for (format, broken) in [("ndjson", broken.replace(": this", "\":\"this")), ("csv", format!("\r\n{broken}"))] {
        let path = format!("/api/v1/events?format={format}");
        let whole = Answer::to(collector.request(Method::GET, &path)).await.text;
        assert_eq!(whole.matches(",422,").count() + whole.matches("\"status\":422").count(), 900, "{format}");
        let mut wire = Wire::get(&collector, &collector.token, &path, "").await;
        wire.until(|text| text.contains("req_")).await;
        proxy.refuse();
        let text = wire.rest().await;
        assert!(text.contains(&broken), "{format}: {:?}", tail(&text));
        assert!(!text.ends_with("0\r\n\r\n"), "{format}: the transfer ends as if it were whole");
        proxy.pass();
        let is_up = async || collector.get("/api/v1/events?limit=1").await.0 == 200;
        eventually("ClickHouse again", is_up).await;
    }
    // An export ends with its token.
    let data = dir.path().join("data");
    let sre = token(&data, "default", &[Role::Sre], None, None);
    let mut wire = Wire::get(&collector, &sre, "/api/v1/events?format=ndjson", "").await;
    wire.until(|text| text.contains("req_")).await;
    let state = State::open(&data).unwrap();
    state.revoke_token(&state.find_token(&sre, NOW_MS).unwrap().unwrap().id, 0).unwrap();
    let text = wire.rest().await;
    assert!(text.contains("before its end: the token is no longer valid"), "{:?}", tail(&text));
    collector.stop().await.unwrap();
}

fn tail(text: &str) -> &str {
    &text[text.floor_char_boundary(text.len().saturating_sub(400))..]
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_so_many_a_token_and_of_whom_the_token_may_see() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let [product, ingest] = [Role::Product, Role::Ingest].map(|role| token(dir.path(), "default", &[role], None, None));
    ship_large(&collector, 700, |event| event["user_id"] = json!("anna")).await;
    for format in ["csv", "ndjson"] {
        let path = format!("/api/v1/events?format={format}");
        let text = Answer::to(collector.with_token(&product, Method::GET, &path)).await.text;
        assert!(text.contains("req_7") && !text.contains("anna"), "{:?}", tail(&text));
        let answer = Answer::to(collector.with_token(&product, Method::GET, &format!("{path}&user_id=anna"))).await;
        assert_eq!(answer.status, 403);
        answer.envelope("product");
        assert_eq!(Answer::to(collector.with_token(&ingest, Method::GET, &path)).await.status, 403);
    }
    let path = "/api/v1/events?format=ndjson";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::get(&collector, &collector.token, path, "").await;
        // Its rest does not fit the buffers on the way.
        let begun = wire.until(|text| text.contains("req_")).await;
        open.push((begun, wire));
    }
    let refused = Answer::to(collector.request(Method::GET, path)).await;
    assert_eq!(refused.status, 429);
    let why = refused.envelope("a third")["errors"]["token"][0].clone();
    assert!(why.as_str().unwrap().contains("2 exports open"), "{why}");
    for (begun, wire) in open {
        let text = begun + &wire.rest().await;
        assert_eq!(text.matches("\"fingerprint\":").count(), 700, "a refusal changes nothing for the others");
    }
    for bad in ["format=xml", "format=csv&limit=1000001", "limit=501", "format=json&limit=1000"] {
        let (status, body) = collector.get(&format!("/api/v1/events?{bad}")).await;
        assert_eq!(status, 400, "{bad}: {body}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_events_ends_early_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    ship_large(&collector, 400, |_| {}).await;
    let (mut pages, mut ids, mut cursor) = (Vec::new(), std::collections::BTreeSet::new(), String::new());
    loop {
        let (status, body) = collector.get(&format!("/api/v1/events?limit=500{cursor}")).await;
        assert_eq!(status, 200);
        let events = body["data"]["events"].as_array().unwrap();
        ids.extend(events.iter().map(|event| event["request_id"].as_str().unwrap().to_owned()));
        pages.push(events.len());
        match body["data"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 400);
    assert!(pages.len() == 2 && pages[0] > 200, "8 MiB hold some 250 bodies of 32 KiB: {pages:?}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_agree_with_the_readme_whatever_they_are_read_from() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    captured::ship(&collector, &captured::capture()).await;
    collector.delivered().await;
    let readme = Readme::read();
    let statuses: Vec<(String, u64)> = readme
        .table(["status", "requests", "error lines"])
        .into_iter()
        .filter(|row| row[2] != "0")
        .map(|[status, _, lines]| (status, lines.parse().unwrap()))
        .collect();
    let all: u64 = statuses.iter().map(|(_, lines)| lines).sum();
    // The second is of no rollup, and has everything: each message and error has an e, or there is none.
    for filter in ["", "&release=2026.11.1,2026.11.2"] {
        let (_, body) = collector.get(&format!("/api/v1/events/histogram?{SPAN}{filter}&step=1h")).await;
        let data = &body["data"];
        assert_eq!((&data["events"], &data["counted_from"]), (&json!(all), &data["from"]), "{filter}");
        for (status, lines) in &statuses {
            let bars = data["bars"].as_array().unwrap().iter();
            let sum: u64 = bars.map(|bar| bar["statuses"][status].as_u64().unwrap_or_default()).sum();
            assert_eq!(sum, *lines, "{status} {filter}");
        }
        let (_, body) = collector.get(&format!("/api/v1/events/top?{SPAN}{filter}&by=status&limit=500")).await;
        let rows = body["data"]["rows"].as_array().unwrap();
        let found: std::collections::BTreeMap<&str, u64> =
            rows.iter().map(|row| (row["status"].as_str().unwrap(), row["events"].as_u64().unwrap())).collect();
        assert_eq!(found, statuses.iter().map(|(status, lines)| (status.as_str(), *lines)).collect(), "{filter}");

        let (_, body) = collector.get(&format!("/api/v1/events/top?{SPAN}{filter}&by=account_id&limit=11")).await;
        assert_eq!(body["data"]["events"], all);
        let rows = body["data"]["rows"].as_array().unwrap().iter();
        let found: Vec<[String; 2]> =
            rows.map(|row| [row["events"].to_string(), row["account_id"].as_str().unwrap().to_owned()]).collect();
        let table = readme.table(["lines", "account_id", "note"]);
        let expected: Vec<[String; 2]> = table
            .into_iter()
            .filter(|[_, account, _]| account != "None")
            .map(|[lines, account, _]| [lines, account])
            .collect();
        assert_eq!(found, expected, "{filter}");
    }
    let (_, body) = collector.get(&format!("/api/v1/events/top?{SPAN}&by=method,route&limit=12")).await;
    let rows = body["data"]["rows"].as_array().unwrap().iter();
    let found: Vec<[String; 3]> = rows
        .map(|row| {
            [row["events"].to_string(), row["method"].as_str().unwrap().into(), row["route"].as_str().unwrap().into()]
        })
        .collect();
    assert_eq!(found, readme.table(["lines", "method", "route"]));
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let (status, _) = collector.read(&product, "/api/v1/events/top?by=route&account_id=7").await;
    assert_eq!(status, 403);
    let (_, body) = collector.read(&product, &format!("/api/v1/events/top?{SPAN}&by=account_id&limit=1")).await;
    let row = &body["data"]["rows"][0];
    assert!(row["account_id"].as_str().unwrap().starts_with("acct_"), "a pseudonym: {row}");
    assert_eq!(row["events"].to_string(), readme.table(["lines", "account_id", "note"])[0][0]);
    collector.stop().await.unwrap();
}
