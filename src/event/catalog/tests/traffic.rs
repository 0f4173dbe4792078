//! Lookups and explanations on what real traffic brings.

use super::{super::RULES, Catalog, event};

const PLANNER: &str = "/api/v1/planner/keywords/";
const WRITER: &str = "/api/v1/writer/tasks/<int:pk>/";

#[test]
fn a_message_is_documented_for_its_module_and_on_a_route_of_no_module_for_any() {
    let catalog = Catalog::builtin();
    let documented = |route| catalog.is_documented(route, "site_id", "site must belong to your account.", 422);
    assert!(documented(PLANNER));
    assert!(documented("/api/v1/planner"));
    assert!(!documented(WRITER));
    assert!(documented("") && documented("/v2/other/"));
    assert!(documented("/api/v1/plannership/"), "a prefix ends at a segment");
    assert!(!catalog.is_documented(PLANNER, "site_id", "Site must belong to your account", 418));
    assert_eq!(catalog.module_of("/api/v1/writer/tasks/").unwrap().name, "writer");
    assert_eq!(catalog.module_of("/api/v1/writers/").map(|it| it.name.as_str()), None);
}

#[test]
fn another_modules_words_help_but_do_not_document() {
    let shown = Catalog::builtin().explain(&event(
        422,
        WRITER,
        "Validation failed",
        &[("site_id", "Site must belong to your account")],
    ));
    assert_eq!(shown.headline, "The site sent does not belong to this account");
    let field = &shown.fields[0];
    assert_eq!((field.documented, field.module.as_deref(), field.rule.as_str()), (false, Some("planner"), "not_owned"));
    assert!(!shown.documented);
}

#[test]
fn rows_of_a_list_are_the_field_and_members_of_an_object_are_not() {
    let catalog = Catalog::builtin();
    let found = |field| catalog.field_entry(PLANNER, field, "This field is required").is_some();
    assert!(found("site_id") && found("site") && found("keywords[].site_id") && found("[].site_id"));
    assert!(found("batches[].rows[].site_id"));
    assert!(!found("meta.site_id") && !found("keywords[].meta.site_id") && !found("site_id[]") && !found(""));
}

#[test]
fn rewording_keeps_its_rule_and_numbers_are_taken_over() {
    let rule =
        |field: &str, message: &str| Catalog::builtin().rule_for(field, message).map(std::borrow::Cow::into_owned);
    let some = |rule: &str| Some(rule.to_owned());
    assert_eq!(rule("password", "Password must be at least 8 characters"), some("min_length(8)"));
    assert_eq!(rule("email", "User with email a@b.example already exists"), some("unique"));
    assert_eq!(rule("name", "User with email a@b.example already exists"), None, "the mapping is for email only");
    assert_eq!(rule("", "Token has expired"), some("expired"));
    assert_eq!(rule("items[].image_type", "INVALID IMAGE TYPE"), some("invalid_choice"));
    assert_eq!(rule("x", "nobody ever said this"), None);
    assert_eq!(rule("x", ""), None);
}

#[test]
fn every_error_status_has_a_helpful_explanation_documented_or_not() {
    let catalog = Catalog::builtin();
    for status in 400..=599 {
        let mut event = event(status, "/x/", "", &[]);
        event.response = "<html>".to_owned();
        let shown = catalog.explain(&event);
        assert!(!shown.headline.is_empty() && !shown.status.title.is_empty(), "{status}");
        assert!(!shown.status.meaning.is_empty() && !shown.status.solution.is_empty(), "{status}");
        assert_eq!(shown.status.documented, catalog.status(status).is_some(), "{status}");
        assert_eq!(shown.documented, shown.status.documented, "{status}");
        assert!(catalog.customer_reply(&event, &shown).len() > 150, "{status}");
    }
    assert_eq!(catalog.explain(&event(405, "/x/", "", &[])).status.title, "Method Not Allowed");
    assert_eq!(
        catalog.explain(&event(502, "/x/", "", &[])).headline,
        "A gateway got no valid answer from the server behind it"
    );
}

#[test]
fn a_general_message_is_explained_in_its_own_words_and_documented_only_where_listed() {
    let shown = Catalog::builtin().explain(&event(401, PLANNER, "Token has expired", &[]));
    assert_eq!(shown.headline, "The access token has expired");
    assert!(shown.status.documented && !shown.documented);
    assert_eq!(shown.error.unwrap().rule.as_deref(), Some("expired"));
    assert_eq!(shown.scenario, None);
    let shown = Catalog::builtin().explain(&event(401, PLANNER, "The moon is full", &[]));
    assert_eq!(shown.headline, "The request was not authenticated");
    assert!(Catalog::builtin().explain(&event(401, PLANNER, "authentication required.", &[])).documented);
}

#[test]
fn the_headline_names_what_is_missing_or_counts_the_rest() {
    let headline = |errors: &[(&str, &str)]| Catalog::builtin().explain(&event(400, PLANNER, "", errors)).headline;
    let required = "This field is required";
    assert_eq!(headline(&[("site_id", required)]), "No site was sent");
    assert_eq!(
        headline(&[("site_id", required), ("sector_id", required)]),
        "Required values are missing: site_id, sector_id"
    );
    let names = [("a", required), ("b", required), ("b", required), ("c", required), ("d", required)];
    assert_eq!(headline(&names), "Required values are missing: a, b, c and 1 more");
    let rows = headline(&[("rows[].x", required), ("rows[].x", required)]);
    assert_eq!(rows, "“rows[].x” is required but was not sent (and 1 more problem)");
    assert_eq!(headline(&[("volume", "A valid integer is required.")]), "“volume” is not of the type integer");
    let invalid = ("status", "Invalid status value");
    let two = headline(&[invalid, ("site_id", required)]);
    assert_eq!(two, "The status sent is not one of the allowed values (and 1 more problem)");
    assert_eq!(
        headline(&[("due_date", "Gib eine gültige URL ein.")]),
        "“due_date” is not written in the expected form"
    );
    assert_eq!(headline(&[("", "Passwords do not match")]), "The two passwords sent are not the same");
    assert_eq!(headline(&[("a\u{202e}\n\0b", "?")]), "“a b” was not accepted");
}

#[test]
fn a_stored_rule_stands_and_an_unknown_one_is_looked_up_again() {
    let mut event = event(400, "/x/", "", &[("name", "Dieses Feld darf nicht leer sein.")]);
    event.errors[0].rule = "other".to_owned();
    assert_eq!(Catalog::builtin().explain(&event).fields[0].rule, "blank");
    event.errors[0].rule = "min_length(3)".to_owned();
    let shown = Catalog::builtin().explain(&event);
    assert_eq!(shown.fields[0].rule, "min_length(3)");
    assert_eq!(shown.headline, "“name” is shorter than 3 characters");
}

#[test]
fn every_rule_of_the_vocabulary_has_generic_wording() {
    assert_eq!(Catalog::generic().rules().len(), RULES.len());
    for (name, _) in RULES {
        let entry = Catalog::generic().rules().iter().find(|rule| rule.name == name);
        assert!(entry.is_some(), "{name}");
    }
}

#[test]
fn an_empty_catalog_explains_everything_generically_and_documents_nothing() {
    let catalog = Catalog::default();
    let shown = catalog.explain(&event(400, PLANNER, "Validation failed", &[("site_id", "This field is required")]));
    assert!(!shown.documented && !shown.status.documented && !shown.fields[0].documented);
    assert_eq!(shown.headline, "“site_id” is required but was not sent");
}

#[test]
fn a_text_is_stated_only_word_for_word_or_of_no_field() {
    let text = r#"
        api = { name = "x", version = "1" }
        [[module]]
        name = "m"
        title = "M"
        routes = ["/m/"]
        [[status]]
        code = 500
        title = "Broken"
        meaning = "It broke"
        causes = ["c"]
        solution = "s"
        customer = "c"
        [[status]]
        code = 409
        title = "Conflict"
        meaning = "It is taken"
        causes = ["c"]
        solution = "s"
        customer = "c"
        errors = ["It is taken."]
        [[field]]
        module = "m"
        fields = ["non_field_errors"]
        message = "Pick another one"
        description = "d"
        rule = "unique"
        cause = "c"
        solution = "s"
        customer = "c"
    "#;
    let catalog = Catalog::parse(text).unwrap();
    assert!(catalog.states("it is TAKEN", 409) && catalog.states("Pick another one.", 500));
    // A status that lists no messages documents any, and states none.
    assert!(catalog.is_documented("", "", "Account acme-corp is gone", 500));
    assert!(!catalog.states("Account acme-corp is gone", 500));
    assert!(!catalog.states("It is taken", 500) && !catalog.states("Pick another one", 418));
    assert_eq!(catalog.stated_with("TAKEN."), ["it is taken"]);
    assert_eq!(catalog.stated_with(""), ["it is taken", "pick another one"]);
    assert!(catalog.stated_with("acme").is_empty());
}

#[test]
fn scenarios_match_status_error_and_headers() {
    let text = r#"
        api = { name = "x", version = "1" }
        [[scenario]]
        title = "with header"
        status = 503
        headers = ["Retry-After"]
        solution = "wait"
        [[scenario]]
        title = "by pattern"
        status = 503
        errors = ["node {n} is down"]
        solution = "other node"
    "#;
    let catalog = Catalog::parse(text).unwrap();
    let title = |error: &str, header: &str| {
        catalog.scenario(503, error, &[(header.to_owned(), String::new())]).map(|it| it.title.as_str())
    };
    assert_eq!(title("Node 3 is down.", "x"), Some("by pattern"));
    assert_eq!(title("Node 3 is down.", "retry-after"), Some("with header"));
    assert_eq!(title("node three is down", "x"), None);
}

#[test]
fn a_mapping_may_take_its_number_from_the_message() {
    let text = r#"
        api = { name = "x", version = "1" }
        [[message]]
        pattern = "Bitte hoechstens {n} Tags ({value})"
        field = "tags"
        rule = "max_items({n})"
    "#;
    let catalog = Catalog::parse(text).unwrap();
    assert_eq!(catalog.rule_for("tags", "bitte hoechstens 12 TAGS (du hast 30).").as_deref(), Some("max_items(12)"));
    assert_eq!(catalog.rule_for("posts[].tags", "bitte hoechstens 12 TAGS (x)").as_deref(), Some("max_items(12)"));
    assert_eq!(catalog.rule_for("name", "bitte hoechstens 12 TAGS (x)"), None);
}

#[test]
fn every_message_of_the_captured_traffic_has_a_rule_with_wording() {
    use std::io::BufRead;
    fn messages(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => found.push(text.clone()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            serde_json::Value::Object(members) => members.values().for_each(|member| messages(member, found)),
            _ => {}
        }
    }
    let packed: &[u8] = include_bytes!("../../../../tests/data/drf-exchanges.ndjson.gz");
    let mut seen = std::collections::BTreeSet::new();
    for line in std::io::BufReader::new(flate2::read::GzDecoder::new(packed)).lines() {
        let exchange: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let mut found = Vec::new();
        messages(&exchange["response"]["errors"], &mut found);
        seen.extend(found);
    }
    assert_eq!(seen.len(), 263);
    for message in seen {
        let shown = Catalog::builtin().explain(&event(400, "/x/", "", &[("f", &message)]));
        let rule = shown.fields[0].rule.split('(').next().unwrap();
        assert!(RULES.iter().any(|(known, _)| *known == rule), "{rule} has no wording: {message}");
        assert_ne!(rule, "other", "{message}");
    }
}

#[test]
fn the_worked_example_of_the_documentation_does_what_the_text_says() {
    let text = include_str!("../../../../docs/catalog.md");
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let catalog = Catalog::parse(example).unwrap();
    let summary = text.split_once("check` answers: `").unwrap().1.split('`').next().unwrap().replace('\n', " ");
    assert_eq!(catalog.summary(), summary);
    let mut event = event(422, "/v2/labels/", "Label rejected", &[("weight", "Weight must be at most 2000 grams")]);
    event.errors[0].rule = catalog.rule_for("weight", &event.errors[0].message).unwrap().into_owned();
    let shown = catalog.explain(&event);
    assert!(shown.documented);
    assert_eq!(shown.fields[0].rule, "max_value(2000)");
    assert_eq!(shown.headline, "The parcel is too heavy for the service chosen");
    assert_eq!(shown.scenario.as_ref().unwrap().title, "Postcode and country do not fit");
    assert!(catalog.customer_reply(&event, &shown).contains("takes up to 2000 grams"));
}
