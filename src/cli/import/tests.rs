use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    sync::{Arc, Mutex},
};

use serde_json::json;

use super::*;
use crate::cli::stub::{Reply, Stub};

fn lines(count: usize) -> String {
    (1..=count).map(|number| format!("{{\"n\":{number}}}")).collect::<Vec<_>>().join("\n") + "\n"
}

fn shipper(stub: &Stub) -> Shipper {
    let (patience, _) = Patience::recorded(Duration::from_secs(1));
    Shipper::new(stub.client(), patience, |_| {})
}

/// Imports a file in batches of ten with records in `records`.
async fn import(stub: &Stub, file: &Path, records: &Path, restart: bool) -> (anyhow::Result<()>, Tally) {
    let shipper = shipper(stub);
    let mut tally = Tally::default();
    let job = Job { shipper: &shipper, records: Some(records), lines: 10, restart };
    (job.import(file, &mut tally).await, tally)
}

#[tokio::test]
async fn every_line_arrives_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson");
    fs::write(&file, lines(95)).unwrap();
    let stub = Stub::start(|received| Reply::taken(received.lines.len())).await;
    let (result, tally) = import(&stub, &file, dir.path(), false).await;
    result.unwrap();
    assert_eq!((tally.accepted, tally.lines()), (95, 95));
    let mut received = stub.received();
    received.sort_by_key(|request| request.lines[0].len());
    let sent: BTreeSet<_> = received.iter().flat_map(|request| request.lines.clone()).collect();
    assert_eq!((received.len(), sent.len()), (10, 95));
}

/// One request after the other, in the order of the file: of two totals that are alike, the last counts.
#[tokio::test]
async fn a_file_of_totals_goes_to_their_endpoint_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("totals.ndjson");
    let totals: Vec<_> = (0..95).map(|count| format!("{{\"minute\":60,\"count\":{count}}}")).collect();
    fs::write(&file, totals.join("\n")).unwrap();
    let stub = Stub::start(|received| {
        let taken = received.lines.len();
        Reply::data(202, &json!({ "accepted": taken, "rejected": 0, "rejections": [] }))
    })
    .await;
    let (result, tally) = import(&stub, &file, dir.path(), false).await;
    result.unwrap();
    assert_eq!((tally.accepted, tally.lines()), (95, 95));
    let received = stub.received();
    assert!(received.iter().all(|request| request.target == "POST /api/v1/request-totals"), "{received:?}");
    assert_eq!(received.into_iter().flat_map(|request| request.lines).collect::<Vec<_>>(), totals);
}

/// The collector goes away for good in the middle, the import ends; the next run sends what was not answered for.
#[tokio::test]
async fn an_interrupted_import_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson");
    fs::write(&file, lines(100)).unwrap();
    let accepted = Arc::new(Mutex::new(BTreeSet::new()));
    let (is_down, taken) = (Arc::new(Mutex::new(false)), Arc::clone(&accepted));
    let switch = Arc::clone(&is_down);
    let stub = Stub::start(move |received| {
        let mut taken = taken.lock().unwrap();
        if *switch.lock().unwrap()
            || taken.len() >= 50 && received.lines[0] == "{\"n\":51}" && taken.len() < 100 && !taken.contains("resumed")
        {
            *switch.lock().unwrap() = true;
            return Reply::Cut;
        }
        taken.extend(received.lines.clone());
        Reply::taken(received.lines.len())
    })
    .await;
    let (result, first) = import(&stub, &file, dir.path(), false).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("gave up"), "{error}");
    assert_eq!(first.accepted, 50);

    *is_down.lock().unwrap() = false;
    accepted.lock().unwrap().insert("resumed".into());
    let before = stub.received().len();
    let (result, second) = import(&stub, &file, dir.path(), false).await;
    result.unwrap();
    assert_eq!(second.accepted, 50);
    assert_eq!(stub.received()[before].lines.len(), 10);
    assert_eq!(accepted.lock().unwrap().len(), 101);

    // The record went with the end: a third run begins anew.
    let (result, third) = import(&stub, &file, dir.path(), false).await;
    result.unwrap();
    assert_eq!(third.accepted, 100);
}

/// Line 3 is rejected, then the collector goes away for good; the next run takes the rest and tells of line 3 all the same.
#[tokio::test]
async fn a_resumed_import_tells_of_the_lines_rejected_before_the_interruption() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson");
    fs::write(&file, lines(20)).unwrap();
    let is_back = Arc::new(Mutex::new(false));
    let switch = Arc::clone(&is_back);
    let stub = Stub::start(move |received| match received.lines[0].as_str() {
        "{\"n\":1}" => Reply::data(
            202,
            &json!({ "accepted": 7, "duplicates": 0, "rejected": 3,
                "rejections": [{ "index": 2, "errors": { "status": ["is required"] } }] }),
        ),
        _ if *switch.lock().unwrap() => Reply::taken(received.lines.len()),
        _ => Reply::Cut,
    })
    .await;
    let (result, first) = import(&stub, &file, dir.path(), false).await;
    result.unwrap_err();
    assert_eq!((first.lines(), first.rejected()), (10, 3));

    *is_back.lock().unwrap() = true;
    let (result, second) = import(&stub, &file, dir.path(), false).await;
    result.unwrap();
    assert_eq!((second.lines(), second.rejected()), (10, 3));
    let summary = second.summary(Duration::from_secs(1));
    for expected in [
        "10 lines in 1.0 s (10/s): 10 accepted, 0 duplicates, 0 rejected\n3 more were rejected before the interruption\n",
        "1 × status: is required\n",
        "a.ndjson:3\n",
        "2 × not listed",
    ] {
        assert!(summary.contains(expected), "{expected}\n{summary}");
    }
}

#[tokio::test]
async fn restart_ignores_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson");
    fs::write(&file, lines(30)).unwrap();
    let stub = Stub::start(|received| Reply::taken(received.lines.len())).await;
    let identity = input::open(&file).unwrap().identity.unwrap();
    let record = || Resume::of(dir.path(), identity.clone(), stub.client().identity());
    let done = || Done { lines: 25, ..Done::default() };
    record().save(done()).unwrap();
    assert_eq!(import(&stub, &file, dir.path(), false).await.1.accepted, 5);
    record().save(done()).unwrap();
    assert_eq!(import(&stub, &file, dir.path(), true).await.1.accepted, 30);
}

#[tokio::test]
async fn a_truncated_file_is_named_after_its_good_lines_went_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(lines(5000).as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let stub = Stub::start(|received| Reply::taken(received.lines.len())).await;
    let (result, tally) = import(&stub, &file, dir.path(), false).await;
    let error = result.unwrap_err().to_string();
    assert!(tally.accepted > 1000, "{}", tally.accepted);
    assert!(
        error.starts_with(&format!("after line {}: the compressed data ends in the middle", tally.accepted)),
        "{error}"
    );
}

#[tokio::test]
async fn rejected_lines_are_counted_with_their_numbers_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ndjson");
    fs::write(&file, format!("\n{}", lines(20))).unwrap();
    let stub = Stub::start(|received| {
        let bad = received.lines.iter().position(|line| line == "{\"n\":14}");
        let rejections: Vec<_> =
            bad.iter().map(|index| json!({ "index": index, "errors": { "status": ["is required"] } })).collect();
        let accepted = received.lines.len() - rejections.len();
        Reply::data(
            202,
            &json!({ "accepted": accepted, "duplicates": 0, "rejected": rejections.len(), "rejections": rejections }),
        )
    })
    .await;
    let (result, tally) = import(&stub, &file, dir.path(), false).await;
    result.unwrap();
    assert_eq!((tally.accepted, tally.rejected()), (19, 1));
    let summary = tally.summary(Duration::from_secs(1));
    assert!(summary.contains("1 × status: is required") && summary.contains("a.ndjson:15"), "{summary}");
}

#[tokio::test]
async fn a_missing_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let stub = Stub::start(|_| Reply::Cut).await;
    let (result, _) = import(&stub, &dir.path().join("none"), dir.path(), false).await;
    assert!(result.unwrap_err().to_string().contains("No such file"));
}
