//! What every dashboard has in common.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use super::{boards::Board, file};

const PROMETHEUS: &str = "prometheus";
const CLICKHOUSE: &str = "grafana-clickhouse-datasource";

#[test]
fn every_dashboard_and_panel_says_what_it_is_in_what_unit_and_from_where() {
    let mut titles = BTreeSet::new();
    let boards = Board::all();
    for board in &boards {
        let uid = &board.uid;
        assert_eq!(board.json["uid"], uid.as_str());
        assert!(titles.insert(board.json["title"].as_str().unwrap().to_owned()), "{uid}: its title is another's too");
        assert!(board.json["description"].as_str().unwrap().ends_with('.'), "{uid}");
        assert_eq!(board.json["tags"], serde_json::json!(["errata"]), "{uid}");
        assert!(board.text.len() < 20_000, "{uid} is no longer small: {} bytes", board.text.len());
        let (kind, variable) =
            if uid.ends_with("-clickhouse") { (CLICKHOUSE, "${clickhouse}") } else { (PROMETHEUS, "${prometheus}") };
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for panel in board.panels() {
            let about = panel.name();
            assert!(ids.insert(panel.json["id"].as_u64().unwrap()), "{about:?}: its id is another's too");
            assert!(names.insert(about.1), "{about:?}: its title is another's too");
            assert!(panel.text("description").ends_with('.'), "{about:?}");
            assert!(panel.json["fieldConfig"]["defaults"]["unit"].is_string(), "{about:?} has no unit");
            assert_eq!((panel.datasource(), panel.json["datasource"]["uid"].as_str()), (kind, Some(variable)));
            assert!(["stat", "table", "timeseries"].contains(&panel.text("type")), "{about:?}");
            assert!(!panel.targets().is_empty(), "{about:?}");
        }
        let links = board.panels().iter().map(|panel| panel.links().len()).sum::<usize>();
        assert!(links > 0 || uid == "errata-health-clickhouse", "{uid} leads nowhere");
    }
    let uids: BTreeSet<&str> = boards.iter().map(|board| board.uid.as_str()).collect();
    for subject in ["overview", "rate-limits", "validation", "health"] {
        for suffix in ["", "-clickhouse"] {
            assert!(uids.contains(format!("errata-{subject}{suffix}").as_str()), "{subject}{suffix}");
        }
    }
    assert_eq!(uids.len(), 8);
}

#[test]
fn panels_lie_beside_each_other() {
    for board in Board::all() {
        let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
        for panel in board.panels() {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel.json["gridPos"][key].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{:?}", panel.name());
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                let other = taken.insert(place, panel.name().1);
                assert_eq!(other, None, "{:?} lies on another", panel.name());
            }
        }
    }
}

#[test]
fn variables_that_are_used_are_defined_and_the_other_way_round() {
    let used = Regex::new(r"\$(?:\{(\w+)[:}]|(\w+))").unwrap();
    for board in Board::all() {
        let defined: BTreeSet<&str> =
            board.variables().iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        let uses = used.captures_iter(&board.text);
        let names = uses.map(|found| found.get(1).or_else(|| found.get(2)).unwrap().as_str());
        let own: BTreeSet<&str> = names.filter(|name| !name.starts_with("__")).collect();
        let mut expected = own.clone();
        expected.insert("errata"); // kept from one dashboard to the next, also over one that leads nowhere
        assert_eq!(defined, expected, "{}", board.uid);
    }
}

#[test]
fn provisioning_names_the_folder_and_the_data_sources_that_the_dashboards_ask_for() {
    let read = |path: &str| std::fs::read_to_string(file(path)).unwrap();
    let sources = read("deploy/grafana/datasources.yml");
    let kinds: BTreeSet<&str> = sources.lines().filter_map(|line| line.trim().strip_prefix("type: ")).collect();
    assert_eq!(kinds, [CLICKHOUSE, PROMETHEUS].into());
    assert!(read("deploy/grafana/dashboards.yml").contains("path: /var/lib/grafana/dashboards/errata"));
    let asked: BTreeSet<String> = Board::all()
        .iter()
        .flat_map(|board| board.variables().clone())
        .filter(|variable| variable["type"] == "datasource")
        .map(|variable| variable["query"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(asked, kinds.into_iter().map(str::to_owned).collect());
    assert!(Board::all().iter().all(|board| board.json["id"] == Value::Null), "Grafana gives ids");
}
