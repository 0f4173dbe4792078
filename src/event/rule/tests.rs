use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
};

use proptest::prelude::*;

use super::*;
use crate::event::body::{self, Response};

#[test]
fn a_pattern_has_the_placeholders_of_a_catalog() {
    let ids =
        ["3f2a9c1e", "550e8400-e29b-41d4-a716-446655440000", "\"a b\"", "''", "anna@example.com", "req_8f14e45fceea"];
    for id in ids {
        assert_eq!(pattern(&format!("Task {id} is gone")), "Task {value} is gone", "{id}");
    }
    assert_eq!(pattern("Ensure this is less than 5."), "Ensure this is less than {n}.");
    assert_eq!([pattern("max_length(10)"), pattern("invalid_choice")], ["max_length({n})", "invalid_choice"]);
}

#[test]
fn every_pattern_compiles_and_names_its_groups() {
    assert_eq!(ANY.len(), WORDINGS.len());
    for ((pattern, rule), wording) in WORDINGS.iter().zip(EACH.iter()) {
        let groups = Regex::new(pattern).unwrap().captures_len() - 1;
        assert_eq!(groups, rule.matches('$').count(), "{pattern}");
        assert_eq!(wording.is_some(), rule.contains('('), "{pattern}");
    }
}

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(message, rule)| (message, of(message, "").into_owned(), *rule))
        .filter(|(_, found, expected)| found != expected)
        .collect();
    assert!(wrong.is_empty(), "(message, found, expected): {wrong:#?}");
}

#[test]
fn the_references_messages_have_their_rules() {
    check(&[
        ("This field is required", "required"),
        ("Invalid email format", "invalid_format"),
        ("User with this email already exists", "unique"),
        ("Password must be at least 8 characters", "min_length(8)"),
        ("Invalid credentials", "credentials"),
        ("Invalid seed keyword", "invalid"),
        ("Site must belong to your account", "not_owned"),
        ("Sector must belong to the selected site", "mismatch"),
        ("Invalid status value", "invalid_choice"),
        ("Invalid image type", "invalid_choice"),
        ("Invalid API key format", "invalid_format"),
        ("Invalid integration type", "invalid_choice"),
        ("Amount must be positive", "positive"),
        ("Insufficient credits", "insufficient"),
    ]);
}

#[test]
fn djangos_messages_have_their_rules() {
    check(&[
        ("This field is required.", "required"),
        ("This field may not be blank.", "blank"),
        ("This field may not be null.", "null"),
        ("A valid integer is required.", "invalid_type(integer)"),
        ("A valid number is required.", "invalid_type(number)"),
        ("Must be a valid boolean.", "invalid_type(boolean)"),
        ("Not a valid string.", "invalid_type(string)"),
        ("Must be a valid UUID.", "invalid_format"),
        ("Enter a valid URL.", "invalid_format"),
        ("Enter a valid email address.", "invalid_format"),
        ("Date has wrong format. Use one of these formats instead: YYYY-MM-DD.", "invalid_format"),
        ("Duration has wrong format. Use one of these formats instead: [DD] [HH:[MM:]]ss[.uuuuuu].", "invalid_format"),
        ("This value does not match the required pattern.", "invalid_format"),
        ("Null characters are not allowed.", "invalid_format"),
        ("The fields site_id, seed_keyword_id must make a unique set.", "unique"),
        ("This field must be unique.", "unique"),
        ("user with this email already exists.", "unique"),
        ("Ensure this field has at least 3 characters.", "min_length(3)"),
        ("Ensure this field has no more than 1000 characters.", "max_length(1000)"),
        ("Ensure this field has at least 5 elements.", "min_items(5)"),
        ("Ensure this field has no more than 8 elements.", "max_items(8)"),
        ("This list may not be empty.", "min_items(1)"),
        ("Ensure this value is less than or equal to 100.", "max_value(100)"),
        ("Ensure this value is greater than or equal to 0.", "min_value(0)"),
        ("Ensure that there are no more than 2 decimal places.", "max_decimals(2)"),
        ("Ensure that there are no more than 3 digits in total.", "max_digits(3)"),
        ("\"UK\" is not a valid choice.", "invalid_choice"),
        ("Incorrect type. Expected pk value, received str.", "invalid_type(key)"),
        ("Invalid pk \"888888\" - object does not exist.", "not_found"),
        ("Expected a list of items but got type \"str\".", "invalid_type(list)"),
        ("Expected a dictionary of items but got type \"list\".", "invalid_type(object)"),
        ("Invalid data. Expected a dictionary, but got list.", "invalid_type(object)"),
        ("This password is too common.", "weak"),
        ("This password is too short. It must contain at least 8 characters.", "min_length(8)"),
        ("Passwords do not match", "mismatch"),
        ("No data provided", "required"),
        ("Task 10 is already in progress", "conflict"),
        ("API key igk_live_9c14 is already connected by a@b.example", "unique"),
        ("No pending verification for a@b.example", "not_found"),
        ("Cluster with this name already exists on the site", "unique"),
    ]);
}

#[test]
fn djangos_german_messages_have_the_same_rules() {
    check(&[
        ("Dieses Feld ist zwingend erforderlich.", "required"),
        ("Dieses Feld darf nicht leer sein.", "blank"),
        ("Dieses Feld darf nicht null sein.", "null"),
        ("Diese Liste darf nicht leer sein.", "min_items(1)"),
        ("Eine gültige Ganzzahl ist erforderlich.", "invalid_type(integer)"),
        ("Eine gültige Zahl ist erforderlich.", "invalid_type(number)"),
        ("Muss ein gültiger Wahrheitswert sein.", "invalid_type(boolean)"),
        ("Ungültige Daten. Dictionary erwartet, aber str erhalten.", "invalid_type(object)"),
        ("Erwarte eine Liste von Elementen, erhielt aber den Typ \"int\".", "invalid_type(list)"),
        ("Erwartete ein Dictionary mit Elementen, erhielt aber den Typ \"list\".", "invalid_type(object)"),
        ("Datum hat das falsche Format. Nutze stattdessen eines dieser Formate: YYYY-MM-DD.", "invalid_format"),
        ("Gib eine gültige E-Mail Adresse an.", "invalid_format"),
        ("Dieser Wert passt nicht zu dem erforderlichen Muster.", "invalid_format"),
        ("Die Felder site_id, seed_keyword_id müssen eine eindeutige Menge bilden.", "unique"),
        ("user mit diesem Wert für das Feld email existiert bereits.", "unique"),
        ("Stelle sicher, dass dieses Feld nicht mehr als 50 Zeichen lang ist.", "max_length(50)"),
        ("Stelle sicher, dass dieser Wert größer oder gleich 100 ist.", "min_value(100)"),
        ("Stelle sicher, dass dieser Wert kleiner oder gleich 12 ist.", "max_value(12)"),
        ("Stelle sicher, dass es nicht mehr als 2 Nachkommastellen lang ist.", "max_decimals(2)"),
        ("Dieses Feld muss mindestens 5 Einträge enthalten.", "min_items(5)"),
        ("\"UK\" ist keine gültige Option.", "invalid_choice"),
        ("Ungültiger pk \"0\" - Object existiert nicht.", "not_found"),
    ]);
}

#[test]
fn pydantic_zod_and_json_schema_messages_have_their_rules() {
    check(&[
        ("Field required", "required"),
        ("field required", "required"),
        ("Input should be a valid string", "invalid_type(string)"),
        ("Input should be a valid integer, unable to parse string as an integer", "invalid_type(integer)"),
        ("Input should be a valid list", "invalid_type(list)"),
        ("Input should be a valid datetime, input is too short", "invalid_format"),
        ("Input should be 'a', 'b' or 'c'", "invalid_choice"),
        ("Input should be greater than 0", "positive"),
        ("Input should be greater than 5", "greater_than(5)"),
        ("Input should be greater than or equal to 18", "min_value(18)"),
        ("Input should be less than or equal to 1,000", "max_value(1000)"),
        ("String should have at least 8 characters", "min_length(8)"),
        ("String should have at most 20 characters", "max_length(20)"),
        ("String should match pattern '^a+$'", "invalid_format"),
        ("List should have at least 5 items after validation, not 2", "min_items(5)"),
        ("Extra inputs are not permitted", "unknown_field"),
        ("value is not a valid email address: An email address must have an @-sign.", "invalid_format"),
        ("Value error, passwords do not match", "mismatch"),
        ("Required", "required"),
        ("Expected string, received number", "invalid_type(string)"),
        ("Invalid input: expected string, received undefined", "required"),
        ("Invalid input: expected number, received null", "null"),
        ("Invalid input: expected array, received string", "invalid_type(list)"),
        ("String must contain at least 8 character(s)", "min_length(8)"),
        ("Too small: expected string to have >=8 characters", "min_length(8)"),
        ("Too big: expected array to have <=5 items", "max_items(5)"),
        ("Number must be greater than or equal to 1", "min_value(1)"),
        ("Array must contain at least 1 element(s)", "min_items(1)"),
        ("Invalid email", "invalid_format"),
        ("Invalid email address", "invalid_format"),
        ("Invalid enum value. Expected 'a' | 'b', received 'c'", "invalid_choice"),
        ("Invalid option: expected one of \"a\"|\"b\"", "invalid_choice"),
        ("Unrecognized key(s) in object: 'x'", "unknown_field"),
        ("must have required property 'sku'", "required"),
        ("must be string", "invalid_type(string)"),
        ("must be integer", "invalid_type(integer)"),
        ("must NOT have fewer than 8 characters", "min_length(8)"),
        ("must NOT have more than 20 characters", "max_length(20)"),
        ("must NOT have additional properties", "unknown_field"),
        ("must be >= 5", "min_value(5)"),
        ("must be equal to one of the allowed values", "invalid_choice"),
        ("must match format \"email\"", "invalid_format"),
        ("'x' is a required property", "required"),
        ("5 is not of type 'string'", "invalid_type(string)"),
        ("'x' is not one of ['a', 'b']", "invalid_choice"),
    ]);
}

#[test]
fn class_validator_joi_rails_laravel_and_spring_messages_have_their_rules() {
    check(&[
        ("email must be an email", "invalid_format"),
        ("name should not be empty", "blank"),
        ("name must be a string", "invalid_type(string)"),
        ("each value in tags must be a string", "invalid_type(string)"),
        ("active must be a boolean value", "invalid_type(boolean)"),
        ("age must not be less than 18", "min_value(18)"),
        ("age must not be greater than 99", "max_value(99)"),
        ("age must be a number conforming to the specified constraints", "invalid_type(number)"),
        ("password must be longer than or equal to 8 characters", "min_length(8)"),
        ("password must be shorter than or equal to 20 characters", "max_length(20)"),
        ("role must be one of the following values: a, b", "invalid_choice"),
        ("amount must be a positive number", "positive"),
        ("property foo should not exist", "unknown_field"),
        ("\"email\" is required", "required"),
        ("\"email\" is not allowed to be empty", "blank"),
        ("\"foo\" is not allowed", "unknown_field"),
        ("\"age\" must be a number", "invalid_type(number)"),
        ("\"name\" length must be at least 3 characters long", "min_length(3)"),
        ("can't be blank", "blank"),
        ("has already been taken", "unique"),
        ("is not a number", "invalid_type(number)"),
        ("is too short (minimum is 8 characters)", "min_length(8)"),
        ("is the wrong length (should be 5 characters)", "length(5)"),
        ("is not included in the list", "invalid_choice"),
        ("is invalid", "invalid"),
        ("must be greater than or equal to 5", "min_value(5)"),
        ("must exist", "not_found"),
        ("doesn't match Password", "mismatch"),
        ("doesn’t match Password", "mismatch"),
        ("The email field is required.", "required"),
        ("The email has already been taken.", "unique"),
        ("The name must be at least 3 characters.", "min_length(3)"),
        ("The name may not be greater than 10 characters.", "max_length(10)"),
        ("The age must be at least 5.", "min_value(5)"),
        ("The age must be between 1 and 10.", "between(1,10)"),
        ("The name must be between 3 and 10 characters.", "length_between(3,10)"),
        ("The tags must not have more than 5 items.", "max_items(5)"),
        ("The selected status is invalid.", "invalid_choice"),
        ("The email must be a valid email address.", "invalid_format"),
        ("The password confirmation does not match.", "mismatch"),
        ("must not be null", "null"),
        ("must not be blank", "blank"),
        ("size must be between 3 and 10", "length_between(3,10)"),
        ("must be a well-formed email address", "invalid_format"),
        ("must be greater than 0", "positive"),
    ]);
}

#[test]
fn plain_speech_has_rules_and_the_rest_is_other() {
    check(&[
        ("Token has expired", "expired"),
        ("You do not have permission to perform this action.", "permission"),
        ("Rate limit exceeded", "rate_limited"),
        ("This account does not belong to you", "not_owned"),
        ("Your cat is on the keyboard", "other"),
        ("", "other"),
        ("12", "other"),
    ]);
}

#[test]
fn a_code_decides_where_the_message_does_not() {
    assert_eq!(of("Wrong!", "string_too_short"), "min_length");
    assert_eq!(of("Invalid answer", "invalid_format"), "invalid_format");
    assert_eq!(of("missing_field", "missing_field"), "required");
    assert_eq!(of("nope", "value_error.missing"), "required");
    assert_eq!(of("nope", "no_such_code"), "other");
    assert_eq!(of("Password must be at least 8 characters", "invalid"), "min_length(8)");
}

#[test]
fn numbers_are_written_one_way() {
    assert_eq!(of("Ensure this value is less than or equal to 1,000.00.", ""), "max_value(1000)");
    assert_eq!(of("Ensure this value is less than or equal to 0.5.", ""), "max_value(0.5)");
    assert_eq!(of("Ensure this value is greater than or equal to -5.", ""), "min_value(-5)");
}

#[test]
fn templates_replace_what_varies() {
    let cases = [
        ("Password must be at least 8 characters", "Password must be at least {n} characters"),
        ("\"UK\" is not a valid choice.", "{value} is not a valid choice."),
        ("Invalid pk \"888888\" - object does not exist.", "Invalid pk {value} - object does not exist."),
        ("User with email ravi.okafor+igny8@a.example.com already exists", "User with email {email} already exists"),
        ("Task 10 is already in progress", "Task {n} is already in progress"),
        ("Method 'DELETE' can't be used, it's not allowed", "Method {value} can't be used, it's not allowed"),
        ("Path `email` is “bad” and „schlecht“", "Path {value} is {value} and {value}"),
        ("API key igk_live_9c14f0f63ab01eff0e10ff08 is taken", "API key {id} is taken"),
        ("No user 550e8400-e29b-41d4-a716-446655440000.", "No user {uuid}."),
        ("at 0x7f3a and deadbeef01, see https://x.example/a?b=1", "at {hex} and {hex}, see {url}"),
        ("Cannot GET /users/17/", "Cannot GET /users/{id}/"),
        (
            "JSON parse error - Expecting value: line 1 column 1 (char 0)",
            "JSON parse error - Expecting value: line {n} column {n} (char {n})",
        ),
        ("took 1,000.5 ms, -3 left at 10:30", "took {n} ms, {n} left at {n}"),
        ("OAuth2 and utf8 v1 user12345 in 30s", "OAuth2 and utf8 v1 user{n} in {n}s"),
        ("  two\n\twords  ", "two words"),
        ("unclosed \"quote", "unclosed \"quote"),
        ("empty '' value", "empty {empty} value"),
        ("site {n} of {name}", "site {n} of {name}"),
        ("", ""),
    ];
    for (message, expected) in cases {
        assert_eq!(template(message), expected, "{message}");
    }
    assert!(template(&"é 12 ".repeat(10_000)).len() <= template::MAX_TEMPLATE);
}

/// Field messages of the captured Django traffic.
fn captured_messages() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz");
    let lines = BufReader::new(flate2::read::GzDecoder::new(File::open(path).unwrap())).lines();
    let exchanges = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    exchanges.flat_map(|e| body::read(400, Response::Json(&e["response"])).errors).map(|e| e.message).collect()
}

#[test]
fn captured_django_traffic_is_understood() {
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut templates: BTreeMap<String, usize> = BTreeMap::new();
    for message in captured_messages() {
        *rules.entry(of(&message, "").into_owned()).or_default() += 1;
        *templates.entry(template(&message)).or_default() += 1;
    }
    assert_eq!(rules.get("other"), None);
    // "Invalid seed keyword": only the catalog knows that it means a keyword that does not exist.
    assert_eq!(rules.get("invalid"), Some(&24));
    let users = captured_messages().iter().filter(|message| message.starts_with("User with email ")).count();
    assert_eq!(templates.get("User with email {email} already exists"), Some(&users));
    assert!(templates.keys().all(|template| !template.contains('@')), "{templates:#?}");
}

proptest! {
    #[test]
    fn any_message_has_a_rule_and_a_stable_template(message in "([a-z ]{0,9}|[0-9a-f-]{0,12}|[\"'`“”@/.:{}#<>=-]|\\PC){0,30}", code in "\\PC{0,20}") {
        let rule = of(&message, &code);
        prop_assert!(!rule.is_empty() && rule.len() <= 64, "{}", rule);
        prop_assert!(template(&message).len() <= template::MAX_TEMPLATE);
    }

    #[test]
    fn messages_that_differ_in_a_number_share_a_template(a: u64, b: i32, c in "[a-z ]{0,20}", d in "[.:(]?( [a-z]{1,9})?") {
        prop_assert_eq!(template(&format!("{c} {a}{d}")), template(&format!("{c} {b}{d}")));
    }
}
