//! What is said where a question finds nothing: when the project's newest error was, which after an import is not of the last day.

use chrono::{DateTime, Utc};
use reqwest::Method;

use super::{client::Client, filters::Range, node::Node, times::Times};

/// The note on a question that found nothing, which `what` begins: `no event fits`. Asks for one event, the newest of the project; that this question
/// fails takes nothing from the answer to the first.
pub async fn note_on_nothing(client: &Client, what: &str, range: &Range) -> String {
    let what = format!("{what} {range}");
    let newest = [("from", "1970-01-01"), ("limit", "1")];
    match client.send(client.request(Method::GET, &["events"]).query(&newest)).await {
        Ok(data) => {
            let newest = Node::of(&data).list("events").next().map(|event| event.raw("timestamp"));
            told(&what, newest.as_deref(), &Times::local(Utc::now()))
        }
        Err(problem) => format!("{what} (when the newest error was could not be asked: {problem:#})"),
    }
}

fn told(what: &str, newest: Option<&str>, times: &Times) -> String {
    let Some(newest) = newest else { return format!("{what}: no event of this project is stored") };
    let Ok(at) = DateTime::parse_from_rfc3339(newest) else { return what.to_owned() };
    let day = at.with_timezone(&Utc).format("%Y-%m-%d");
    let at = times.full(newest);
    format!("{what}. The newest error of this project is of {at}: --from {day} --to {day} is its day")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_with_where_there_is_something() {
        let times = Times::utc("2026-11-27T12:00:00Z".parse().unwrap());
        let newest = told("no event fits in the last 24 hours", Some("2026-11-18T23:59:12.345Z"), &times);
        let expected = "no event fits in the last 24 hours. The newest error of this project is of \
             Wed 18 Nov 2026 23:59:12 UTC (8 d ago): --from 2026-11-18 --to 2026-11-18 is its day";
        assert_eq!(newest, expected);
        assert_eq!(told("nothing fits", None, &times), "nothing fits: no event of this project is stored");
        assert_eq!(told("nothing fits", Some("soon"), &times), "nothing fits");
    }
}
