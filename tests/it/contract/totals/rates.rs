//! Rates with a denominator: shares, gaps, and the captured two days against the figures its README gives.

use super::*;
use crate::{captured, collector::event};

/// An event some minutes before now.
fn error(minutes_ago: i64, id: &str, status: u16) -> Value {
    let mut event = event(id, status);
    event["timestamp"] = json!(NOW_MS - minutes_ago * MINUTE + 1);
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_null_and_a_minute_without_errors_is_zero() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let silent = |id: &str| {
        let mut event = error(4, id, 500);
        event["service"] = json!("silent");
        event
    };
    let events = [error(5, "req_1", 422), error(5, "req_2", 500), error(2, "req_3", 500), silent("req_4")];
    assert_eq!(collector.ship(&events).await.0, 202);
    collector.delivered().await;
    collector.reported(&[total(5, 200, 6), total(5, 422, 1), total(5, 500, 1), total(4, 200, 8)]).await;
    let range = "from=2026-11-22T11:54:00Z&to=2026-11-22T12:00:00Z&step=1m";
    let point = |minute: &str, errors: Value, requests: Value, ratio: Value| json!({"at": format!("2026-11-22T11:{minute}:00.000Z"), "errors": errors, "requests": requests, "ratio": ratio});
    let gap = |minute| point(minute, Value::Null, Value::Null, Value::Null);
    let by_service = collector.rates(&format!("group_by=service&{range}")).await;
    let expected = json!([
        {"labels": {"service": "igny8-api"}, "errors": 3, "requests": 16, "ratio": 0.125, "points": [
            gap("54"), point("55", json!(2), json!(8), json!(0.25)), point("56", json!(0), json!(8), json!(0.0)),
            gap("57"), point("58", json!(1), Value::Null, Value::Null), gap("59")]},
        {"labels": {"service": "silent"}, "errors": 1, "requests": null, "ratio": null, "points": [
            point("56", json!(1), Value::Null, Value::Null)]}
    ]);
    assert_eq!(json!(by_service), expected, "{by_service:#?}");

    let by_status = collector.rates(&format!("group_by=status&status=5xx&service=igny8-api&{range}")).await;
    assert_eq!(by_status.len(), 1, "{by_status:#?}");
    assert_eq!(by_status[0]["points"][1], point("55", json!(1), json!(1), json!(0.125)));
    // Filters that choose errors leave the requests as they are; those of labels do not; accounts are not known.
    for (filter, requests) in [
        ("field=site_id", json!(16)),
        ("method=GET", Value::Null),
        ("method=POST", json!(16)),
        ("account_id=7", Value::Null),
    ] {
        let series = collector.rates(&format!("{filter}&{range}")).await;
        assert_eq!(
            series.first().map_or(Value::Null, |series| series["requests"].clone()),
            requests,
            "{filter}: {series:#?}"
        );
    }
    // By the hour, from the table of hours; in steps that cut minutes, as a whole.
    for step in ["1h", "90s", "7m"] {
        let series = collector.rates(&format!("from=2026-11-22T11:00:00Z&to=2026-11-22T12:00:00Z&step={step}")).await;
        assert_eq!((&series[0]["errors"], &series[0]["requests"]), (&json!(4), &json!(16)), "{step}: {series:#?}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_captured_days_have_the_requests_and_statuses_of_their_readme() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let readme = captured::Readme::read();
    let [requests] = readme.numbers(r"Request totals sum to \*\*(\d+)\*\* requests");
    captured::ship(&collector, &captured::capture()).await;
    for file in ["drf-request-totals.ndjson.gz", "drf-request-totals.ndjson.gz"] {
        let request = collector.request(Method::POST, "/api/v1/request-totals");
        let request = request.header("Content-Type", "application/x-ndjson").header("Content-Encoding", "gzip");
        let (status, body) = answer(request.body(std::fs::read(captured::data(file)).unwrap())).await;
        let [lines] = readme.numbers(r"drf-request-totals\.ndjson\.gz \([^)]*\) \| (\d+) \|");
        assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(lines)), "{body}");
    }
    collector.delivered().await;
    collector.totals_delivered().await;

    for step in ["5m", "1h", "1d", "45s"] {
        let all = collector.rates(&format!("{}&step={step}", captured::SPAN)).await;
        assert_eq!((all.len(), &all[0]["requests"]), (1, &json!(requests)), "{step}");
    }
    let by_status = collector.rates(&format!("group_by=status&{}", captured::SPAN)).await;
    for [status, served, lines] in readme.table(["status", "requests", "error lines"]) {
        let [served, lines] = [served, lines].map(|text| text.parse::<u64>().unwrap());
        let series = by_status.iter().find(|series| series["labels"]["status"] == *status).unwrap();
        assert_eq!((&series["requests"], &series["errors"]), (&json!(served), &json!(lines)), "{status}");
        let share = lines as f64 / requests as f64;
        assert!((series["ratio"].as_f64().unwrap() - share).abs() < 1e-9, "{status}: {series}");
    }
    let [hammered, limited] = readme.numbers(r"(\d+) requests\s+to the route in those minutes, (\d+) answered 429");
    let route = "/api/v1/planner/clusters/auto_cluster/";
    let window = "from=2026-11-17T09:30:00Z&to=2026-11-17T09:50:00Z&step=1m&service=igny8-api&environment=production";
    let hammering = collector.rates(&format!("{window}&route={route}&status=429&method=POST")).await;
    let series = &hammering[0];
    assert_eq!((&series["requests"], &series["errors"]), (&json!(hammered), &json!(limited)), "{series:#}");
    assert_eq!(series["points"].as_array().unwrap().len(), 20);
    let metric = "errata_api_requests_total{environment=\"production\",service=\"igny8-api\",status=\"429\"}";
    assert_eq!(collector.metric(metric).await, 2110.0, "also after a second shipping");
    collector.stop().await.unwrap();
}
