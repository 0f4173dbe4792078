//! Real traffic of Django REST Framework, held against the counts its README states (`tests/data/README.md`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead as _, BufReader},
};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{Response, field_errors, read};

const EXCHANGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz");
const README: &str = include_str!("../../../tests/data/README.md");

fn exchanges() -> impl Iterator<Item = Value> {
    let file = BufReader::new(GzDecoder::new(File::open(EXCHANGES).unwrap()));
    file.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// The README writes positions `*`, as a step of their own.
fn starred(field: &str) -> String {
    field.replace("[]", ".*").trim_start_matches('.').to_owned()
}

/// Rows of the README's table that has this header.
fn table(header: &str) -> Vec<Vec<String>> {
    let rows = README.lines().skip_while(|line| *line != header).skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[derive(Default)]
struct Counts {
    /// Lines and occurrences by (field, message).
    by_field: BTreeMap<(String, String), (usize, usize)>,
    by_path: BTreeSet<(String, String)>,
    lines_with_pairs: usize,
    lines_with_several: usize,
    most_on_a_line: usize,
    /// Lines without field errors by (status, error).
    without: BTreeMap<(u64, String), usize>,
    deepest: String,
}

fn counts() -> Counts {
    let mut counts = Counts::default();
    for exchange in exchanges() {
        let status = exchange["status"].as_u64().unwrap();
        let body = read(status as u16, Response::Json(&exchange["response"]));
        assert_eq!(body.request_id.as_deref(), exchange["request_id"].as_str());
        assert_eq!(Some(body.error.as_str()), exchange["response"]["error"].as_str());
        assert!(!body.cut && body.code.is_empty());
        assert_eq!(field_errors(&exchange["response"]["errors"]).errors, body.errors);
        let mut on_line = BTreeSet::new();
        for error in &body.errors {
            let pair = (error.field.clone(), error.message.clone());
            counts.by_field.entry(pair.clone()).or_default().1 += 1;
            if on_line.insert(pair.clone()) {
                counts.by_field.get_mut(&pair).unwrap().0 += 1;
            }
            counts.by_path.insert((error.path.clone(), error.message.clone()));
            if error.path.matches(['.', '[']).count() > counts.deepest.matches(['.', '[']).count() {
                counts.deepest.clone_from(&error.path);
            }
        }
        counts.lines_with_pairs += usize::from(!body.errors.is_empty());
        counts.lines_with_several += usize::from(body.errors.len() > 1);
        counts.most_on_a_line = counts.most_on_a_line.max(body.errors.len());
        if body.errors.is_empty() {
            *counts.without.entry((status, body.error)).or_default() += 1;
        }
    }
    counts
}

#[test]
fn captured_django_traffic_gives_the_counts_its_readme_states() {
    let counts = counts();
    let occurrences: usize = counts.by_field.values().map(|(_, occurrences)| occurrences).sum();
    assert_eq!((counts.by_field.len(), counts.by_path.len(), occurrences), (310, 377, 7416));
    let lines = (counts.lines_with_pairs, counts.lines_with_several, counts.most_on_a_line);
    assert_eq!(lines, (6802, 435, 6));
    assert_eq!(counts.deepest, "keywords[5].serp[1].position");
    assert!(counts.by_field.keys().all(|(field, _)| !field.is_empty()));

    let top = table("| lines | occurrences | path | message |");
    assert_eq!(top.len(), 20);
    let mut found: Vec<_> =
        counts.by_field.iter().map(|((field, message), n)| (n.1, n.0, starred(field), message)).collect();
    found.sort_by(|a, b| b.cmp(a));
    for row in &top {
        let stated = (row[1].parse().unwrap(), row[0].parse().unwrap(), row[2].clone(), &row[3]);
        assert!(found[..20].contains(&stated), "{stated:?}");
    }

    let without = table("| lines | status | error |");
    assert_eq!(without.len(), 12);
    for row in &without {
        let key = (row[1].parse().unwrap(), row[2].clone());
        assert_eq!(counts.without.get(&key), Some(&row[0].parse().unwrap()), "{key:?}");
    }
}
