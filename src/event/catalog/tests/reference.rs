//! The built-in catalog against the published reference, taken from its text into a fixture.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{super::PracticeKind, Catalog, event};

#[derive(Deserialize)]
struct Reference {
    statuses: Vec<Status>,
    fields: Vec<Row>,
    practices: Vec<String>,
    tips: Vec<String>,
    examples: Vec<Example>,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
    title: String,
    meaning: String,
    causes: Vec<String>,
    response: Option<String>,
    solution: Option<String>,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    meaning: String,
}

#[derive(Deserialize)]
struct Row {
    module: String,
    field: String,
    message: String,
    description: String,
}

#[derive(Deserialize)]
struct Example {
    name: String,
    scenario: Option<String>,
    scenario_solution: Option<String>,
    path: Option<String>,
    status: u16,
    meaning: String,
    solution: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    response: serde_json::Value,
    fields: Vec<ExampleField>,
}

#[derive(Deserialize)]
struct ExampleField {
    field: String,
    message: String,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../../../tests/data/reference-examples.json")).unwrap()
}

#[test]
fn both_shipped_catalogs_are_valid() {
    assert_eq!(Catalog::parse(include_str!("../../../../catalog/igny8.toml")).err(), None);
    assert_eq!(Catalog::parse(include_str!("../../../../catalog/generic.toml")).err(), None);
}

#[test]
fn every_status_of_the_reference_is_in_the_catalog_word_for_word_and_no_other() {
    let (reference, catalog) = (reference(), Catalog::builtin());
    assert_eq!(reference.statuses.len(), 11);
    assert_eq!(catalog.statuses().len(), reference.statuses.len());
    for status in reference.statuses {
        let entry = catalog.status(status.code).unwrap_or_else(|| panic!("{} is missing", status.code));
        assert_eq!((&entry.title, &entry.meaning), (&status.title, &status.meaning));
        assert_eq!(entry.causes, status.causes, "{}", status.code);
        assert_eq!(entry.response, status.response.unwrap_or_default(), "{}", status.code);
        let headers: Vec<_> = entry.headers.iter().map(|it| (it.name.as_str(), it.meaning.as_str())).collect();
        let expected: Vec<_> = status.headers.iter().map(|it| (it.name.as_str(), it.meaning.as_str())).collect();
        assert_eq!(headers, expected, "{}", status.code);
        if let Some(solution) = status.solution {
            assert_eq!(entry.solution, solution);
        }
    }
}

#[test]
fn every_field_row_of_the_reference_is_documented_with_its_description_and_no_other() {
    let (reference, catalog) = (reference(), Catalog::builtin());
    assert_eq!(reference.fields.len(), 23);
    assert_eq!(catalog.fields().len(), reference.fields.len());
    for row in reference.fields {
        let route = format!("/api/v1/{}/things/{{id}}/", row.module);
        let entry = catalog.field_entry(&route, &row.field, &row.message);
        let entry = entry.unwrap_or_else(|| panic!("{}: {} {:?} is missing", row.module, row.field, row.message));
        assert_eq!((&entry.module, &entry.description), (&row.module, &row.description));
        assert_eq!(entry.fields[0], row.field);
        assert!(catalog.is_documented(&route, &row.field, &row.message, 400), "{route} {}", row.message);
        assert_ne!(entry.rule, "other", "{}", row.message);
        let shown = catalog.explain(&event(400, &route, "Validation failed", &[(&row.field, &row.message)]));
        assert!(shown.documented, "{}", row.message);
        assert_eq!(shown.fields[0].description.as_ref(), Some(&row.description));
        assert_eq!(shown.fields[0].rule, entry.rule);
    }
}

#[test]
fn every_practice_and_tip_of_the_reference_is_in_the_catalog_in_its_order() {
    let (reference, catalog) = (reference(), Catalog::builtin());
    let of = |kind| catalog.practices().iter().filter(move |practice| practice.kind == kind);
    let titles: Vec<_> = of(PracticeKind::Practice).map(|practice| practice.title.clone()).collect();
    assert_eq!(titles, reference.practices);
    assert!(of(PracticeKind::Practice).all(|practice| !practice.code.is_empty()));
    assert_eq!(of(PracticeKind::Tip).map(|tip| tip.text.clone()).collect::<Vec<_>>(), reference.tips);
}

#[test]
fn every_example_response_of_the_reference_is_explained_by_its_entries() {
    let (reference, catalog) = (reference(), Catalog::builtin());
    assert_eq!(reference.examples.len(), 12);
    assert_eq!(reference.examples.iter().filter(|example| example.scenario.is_some()).count(), 4);
    for example in reference.examples {
        let name = &example.name;
        let fields: Vec<_> = example.fields.iter().map(|it| (it.field.as_str(), it.message.as_str())).collect();
        let error = example.response["error"].as_str().unwrap();
        let mut event = event(example.status, example.path.as_deref().unwrap_or(""), error, &fields);
        event.response = example.response.to_string();
        event.response_headers = example.headers.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect();
        let shown = catalog.explain(&event);
        assert!(shown.documented, "{name}: {shown:?}");
        assert_eq!(shown.status.meaning, example.meaning, "{name}");
        if let Some(solution) = example.solution {
            assert_eq!(shown.status.solution, solution, "{name}");
        }
        assert!(!shown.headline.is_empty() && !shown.status.causes.is_empty(), "{name}");
        assert_eq!(shown.fields.len(), example.fields.len(), "{name}");
        for (field, expected) in shown.fields.iter().zip(&example.fields) {
            assert_eq!((&field.field, &field.message), (&expected.field, &expected.message), "{name}");
            assert!(field.documented && field.description.is_some() && field.solution.is_some(), "{name}");
        }
        if let (Some(title), Some(solution)) = (example.scenario, example.scenario_solution) {
            let scenario = shown.scenario.unwrap();
            assert_eq!((scenario.title, scenario.solution), (title, solution));
        }
    }
}

#[test]
fn the_summary_counts_what_the_catalog_holds() {
    let summary = Catalog::builtin().summary();
    assert!(
        summary.starts_with("IGNY8 API 1.0.0: 11 statuses, 5 modules, 23 field messages, 4 scenarios"),
        "{summary}"
    );
}
