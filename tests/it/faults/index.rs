//! The table in the module's documentation names every row, and tests that are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rows of the fault matrix.
const ROWS: std::ops::RangeInclusive<u32> = 1..=34;

/// The tests that the table names, by row.
fn table() -> BTreeMap<u32, Vec<String>> {
    let lines = include_str!("../faults.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    lines
        .filter_map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let row = cells[0].parse().ok()?;
            Some((row, cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect()))
        })
        .collect()
}

/// Where a test of this path is written, and its name.
fn place(path: &str) -> (PathBuf, &str) {
    let (module, name) = path.rsplit_once("::").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/it/faults", "tests/it", "src"];
    let files = folders.map(|folder| root.join(folder).join(format!("{}.rs", module.replace("::", "/"))));
    // A test of this name is looked for in the first of them that has it.
    let has = |file: &&PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {name}(")));
    let file = files.iter().find(has).unwrap_or_else(|| panic!("{path} is not there"));
    (file.clone(), name)
}

#[test]
fn the_table_names_every_row_and_tests_that_are_there() {
    let table = table();
    assert_eq!(table.keys().copied().collect::<Vec<_>>(), ROWS.collect::<Vec<_>>());
    for (row, tests) in &table {
        assert!(!tests.is_empty(), "row {row} has no test");
        for test in tests {
            let (file, name) = place(test);
            let text = fs::read_to_string(file).unwrap();
            let before = &text[..text.find(&format!("fn {name}(")).unwrap()];
            let attributes: Vec<&str> = before.lines().rev().take(3).collect();
            let is_test = attributes.iter().any(|line| line.contains("test]") || line.contains("test("));
            assert!(is_test || text.contains("proptest!"), "{test} is no test");
        }
    }
}

#[test]
fn every_test_of_a_row_says_its_promise_and_is_in_the_table() {
    let named: BTreeSet<String> = table().into_values().flatten().collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults");
    let mut tests = 0;
    for file in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        let (text, module) = (fs::read_to_string(&file).unwrap(), file.file_stem().unwrap().to_str().unwrap());
        let mut promise = None;
        for line in text.lines() {
            if let Some(said) = line.strip_prefix("/// Row ") {
                promise = Some(said);
            }
            let Some(name) = line.strip_prefix("async fn row_") else { continue };
            let name = name.split('(').next().unwrap();
            tests += 1;
            let said = promise.take().unwrap_or_else(|| panic!("row_{name} does not say its promise"));
            let number: String = said.chars().take_while(char::is_ascii_digit).collect();
            assert_eq!(format!("{number:0>2}"), name[..2], "row_{name} is of row {number}");
            assert!(named.contains(&format!("{module}::row_{name}")), "{module}::row_{name} is not in the table");
        }
    }
    assert!(tests >= 40, "{tests}");
}
