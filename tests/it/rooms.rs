//! Rooms know only what `ARCHITECTURE.md` lets them know: read off the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file: its path below `src/`, and its text without comments and test modules.
struct Source {
    path: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut sources, mut test_modules) = (Vec::new(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !name.contains("/tests/") {
                let text = fs::read_to_string(&path).unwrap();
                let folder = path.parent().unwrap().strip_prefix(&root).unwrap();
                for module in text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.split_once(';')) {
                    test_modules.push(folder.join(format!("{}.rs", module.0)).to_str().unwrap().to_owned());
                }
                sources.push(Source { code: code(&text), path: name });
            }
        }
    }
    sources.retain(|source| !test_modules.contains(&source.path));
    sources
}

/// The text before the tests of a file, without comment lines.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Code without what stands in its string literals.
fn without_texts(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut chars = code.chars().peekable();
    let mut in_text = false;
    while let Some(c) = chars.next() {
        match c {
            // A quotation mark of its own: '"'
            '\'' if !in_text && chars.peek() == Some(&'"') => {
                chars.nth(1);
            }
            '\\' if in_text => {
                chars.next();
            }
            '"' => in_text = !in_text,
            c if !in_text => kept.push(c),
            _ => {}
        }
    }
    kept
}

/// Whether a word stands in code as a word of its own.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let before = code[..at].chars().next_back().is_some_and(is_part);
        let after = code[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

/// Whether code uses one of our rooms: by its path, or in a `use crate::{…}` list.
fn uses_room(code: &str, room: &str) -> bool {
    let by_path = names(code, &format!("crate::{room}"));
    let in_list = code.split("crate::{").skip(1).any(|list| {
        let list = list.split("};").next().unwrap();
        let mut depth = 0;
        let top_level: String = list
            .chars()
            .filter(|c| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                depth == 0
            })
            .collect();
        top_level.split(',').any(|item| item.trim().split("::").next() == Some(room))
    });
    by_path || in_list
}

fn room(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

#[test]
fn the_inner_rooms_know_no_frameworks() {
    let forbidden: [(&str, &[&str]); 3] = [
        (
            "event",
            &["axum", "hyper", "reqwest", "clickhouse", "arrow", "tokio", "std::fs", "std::net", "fs", "rusqlite"],
        ),
        (
            "decode",
            &["axum", "hyper", "reqwest", "clickhouse", "arrow", "tokio", "std::fs", "std::net", "fs", "rusqlite"],
        ),
        ("spool", &["axum", "hyper", "reqwest", "clickhouse", "arrow", "serde_json", "rusqlite"]),
    ];
    let mut read = 0;
    for source in sources() {
        for (_, words) in forbidden.iter().filter(|(name, _)| *name == room(&source.path)) {
            read += 1;
            for word in *words {
                assert!(!names(&without_texts(&source.code), word), "{} names {word}", source.path);
            }
        }
    }
    assert!(read > 40, "{read}");
}

#[test]
fn rooms_know_only_the_rooms_before_them() {
    let forbidden: [(&str, &[&str]); 9] = [
        (
            "event",
            &[
                "alerts", "app", "cli", "config", "decode", "deliver", "erase", "http", "metrics", "spool", "state",
                "store",
            ],
        ),
        (
            "decode",
            &["alerts", "app", "cli", "config", "deliver", "erase", "http", "metrics", "spool", "state", "store"],
        ),
        (
            "spool",
            &["alerts", "app", "cli", "config", "decode", "deliver", "event", "http", "metrics", "state", "store"],
        ),
        (
            "store",
            &["alerts", "app", "cli", "config", "decode", "deliver", "erase", "http", "issues", "spool", "state"],
        ),
        (
            "state",
            &["alerts", "app", "cli", "config", "decode", "deliver", "event", "http", "metrics", "spool", "store"],
        ),
        ("alerts", &["app", "cli", "config", "decode", "deliver", "http", "spool"]),
        ("deliver", &["alerts", "app", "cli", "config", "decode", "erase", "http", "state"]),
        ("erase", &["alerts", "app", "cli", "config", "decode", "http", "spool"]),
        ("issues", &["alerts", "app", "cli", "config", "decode", "deliver", "http", "metrics", "spool"]),
    ];
    for source in sources() {
        for (_, rooms) in forbidden.iter().filter(|(name, _)| *name == room(&source.path)) {
            for other in *rooms {
                assert!(!uses_room(&source.code, other), "{} uses {other}", source.path);
            }
        }
    }
}

#[test]
fn only_delivery_inserts_events() {
    let mut inserts = 0;
    // The store itself puts the call together.
    for source in sources().into_iter().filter(|source| room(&source.path) != "store") {
        let calls =
            [".insert_events(", "Store::insert(", "store.insert("].iter().any(|call| source.code.contains(call));
        inserts += usize::from(calls);
        assert!(!calls || room(&source.path) == "deliver", "{} inserts events", source.path);
    }
    assert_eq!(inserts, 1, "the call that delivers has another name now: mend this test");
}

#[test]
fn sql_for_clickhouse_is_written_in_the_store_alone() {
    let mut statements = 0;
    for source in sources() {
        let statement = ["SELECT ", "INSERT INTO ", "ALTER TABLE ", "CREATE TABLE "];
        // A word before the end of a literal is one to look for, no statement.
        let has_sql = statement.iter().any(|sql| source.code.split(sql).skip(1).any(|rest| !rest.starts_with('"')));
        match room(&source.path) {
            "store" => statements += usize::from(has_sql),
            // SQLite's.
            "state" => {}
            _ => assert!(!has_sql, "{} has SQL in it", source.path),
        }
    }
    assert!(statements > 5, "{statements}");
}

#[test]
fn only_http_and_the_shell_know_axum() {
    for source in sources() {
        // The fuzz targets call what reads queries.
        let may = ["console", "http", "app", "cli", "fuzzing"].contains(&room(&source.path));
        assert!(may || !names(&without_texts(&source.code), "axum"), "{} names axum", source.path);
    }
}

#[test]
fn the_readers_of_this_test_see_what_they_should() {
    assert!(uses_room("use crate::{\n    clock::Clock,\n    spool::{self, Item},\n};", "spool"));
    assert!(!uses_room("use crate::{event::{spool}, clock};", "spool"));
    assert!(uses_room("let x = crate::spool::open();", "spool"));
    assert!(names("use std::fs;", "std::fs") && !names("tokio_like::x", "tokio"));
    assert_eq!(without_texts(r#"a "axum \" b" 'c' '"' d "e""#), "a  'c'  d ");
    assert!(!code("a\n// axum\nb // axum\n#[cfg(test)]\nmod tests {\naxum").contains("axum"));
}
