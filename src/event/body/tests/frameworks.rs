//! The bodies of the frameworks, each as it writes them.

use super::*;

#[test]
fn django_rest_framework_defaults_are_read() {
    let cases: [(&str, u16, Value, Expected<'_>); 10] = [
        ("fields", 400, json!({"email": ["a"], "name": ["b"]}), ("", "", &[("email", "a"), ("name", "b")])),
        ("detail", 404, json!({"detail": "Not found."}), ("Not found.", "", &[])),
        ("non-field", 400, json!({"non_field_errors": ["m"]}), ("", "", &[("non_field_errors", "m")])),
        ("nested", 400, json!({"profile": {"address": {"zip": ["m"]}}}), ("", "", &[("profile.address.zip", "m")])),
        (
            "rows",
            400,
            json!([{}, {"sku": ["m"]}, {"tags": {"1": ["n"]}}]),
            ("", "", &[("[1].sku", "m"), ("[2].tags[1]", "n")]),
        ),
        (
            "keyed by position",
            400,
            json!({"keywords": {"1": {"volume": ["m"]}}}),
            ("", "", &[("keywords[1].volume", "m")]),
        ),
        ("one message", 400, json!(["Invalid data"]), ("Invalid data", "", &[("", "Invalid data")])),
        ("full details", 400, json!({"email": [{"message": "m", "code": "required"}]}), ("", "", &[("email", "m")])),
        (
            "a field called message",
            400,
            json!({"message": ["m"], "title": ["n"]}),
            ("", "", &[("message", "m"), ("title", "n")]),
        ),
        (
            "simplejwt",
            401,
            json!({"detail": "Given token not valid", "code": "token_not_valid", "messages": [
            {"token_class": "AccessToken", "message": "Token is expired"}]}),
            ("Given token not valid", "token_not_valid", &[]),
        ),
    ];
    for (name, status, value, expected) in &cases {
        check_json(name, *status, value, *expected);
    }
}

#[test]
fn problem_details_are_read() {
    check_json(
        "pointers",
        422,
        &json!({"type": "https://example.net/validation-error", "title": "Your request is not valid.",
            "errors": [{"detail": "must be a positive integer", "pointer": "#/items/3/age"},
                {"detail": "must be green", "pointer": "#/profile/color"}]}),
        (
            "Your request is not valid.",
            "https://example.net/validation-error",
            &[("items[3].age", "must be a positive integer"), ("profile.color", "must be green")],
        ),
    );
    check_json(
        "invalid-params",
        400,
        &json!({"type": "about:blank", "title": "Bad", "detail": "Two are wrong", "status": 400,
            "invalid-params": [{"name": "age", "reason": "must be positive"}]}),
        ("Two are wrong", "", &[("age", "must be positive")]),
    );
    check_json(
        "asp.net",
        400,
        &json!({"title": "One or more validation errors occurred.", "status": 400, "traceId": "00-1",
            "errors": {"$.items[0].sku": ["m"], "Name": ["n"], "": ["o"]}}),
        ("One or more validation errors occurred.", "", &[("", "o"), ("items[0].sku", "m"), ("Name", "n")]),
    );
    check_json(
        "violations",
        422,
        &json!({"title": "An error occurred", "violations": [{"propertyPath": "items[0].sku", "message": "m", "code": "c"}]}),
        ("An error occurred", "", &[("items[0].sku", "m")]),
    );
}

#[test]
fn pydantic_and_zod_are_read() {
    check_json(
        "fastapi",
        422,
        &json!({"detail": [{"type": "missing", "loc": ["body", "items", 3, "sku"], "msg": "Field required"},
            {"type": "json_invalid", "loc": ["body", 12], "msg": "JSON decode error"}]}),
        ("JSON decode error", "", &[("items[3].sku", "Field required"), ("", "JSON decode error")]),
    );
    check_json(
        "http exception",
        409,
        &json!({"detail": {"code": "taken", "message": "Already there"}}),
        ("Already there", "taken", &[]),
    );
    let issue = json!({"code": "too_small", "path": ["items", 0, "sku"], "message": "Too small"});
    let expected: Expected<'_> = ("", "", &[("items[0].sku", "Too small")]);
    for body in [
        json!({"issues": [issue], "name": "ZodError"}),
        json!({"success": false, "error": {"issues": [issue], "name": "ZodError"}}),
        json!({"error": [issue]}),
        json!([issue]),
    ] {
        check_json("zod", 400, &body, expected);
    }
    check_json(
        "flattened",
        400,
        &json!({"error": {"formErrors": ["Passwords differ"], "fieldErrors": {"email": ["m"]}}}),
        ("Passwords differ", "", &[("", "Passwords differ"), ("email", "m")]),
    );
    check_json(
        "formatted",
        400,
        &json!({"errors": {"_errors": [], "a": {"_errors": ["m"], "0": {"_errors": ["n"]}}}}),
        ("", "", &[("a[0]", "n"), ("a", "m")]),
    );
}

#[test]
fn a_location_alone_is_the_whole_body_in_fastapi_and_a_field_elsewhere() {
    let errors = |key: &str| json!({key: [{"type": "missing", "loc": ["query"], "msg": "Field required"}]});
    let path = |value: &Value| read(422, Response::Json(value)).errors[0].path.clone();
    assert_eq!(path(&errors("detail")), "");
    assert_eq!(path(&errors("errors")), "query");
}

#[test]
fn a_row_with_single_messages_is_no_item() {
    let value = json!({"errors": [{}, {"name": "is required", "description": "is long"}]});
    check_json("rows", 400, &value, ("", "", &[("[1].name", "is required"), ("[1].description", "is long")]));
}

#[test]
fn node_validators_are_read() {
    check_json(
        "class-validator",
        400,
        &json!({"statusCode": 400, "error": "Bad Request",
            "message": ["email must be an email", "items.0.sku should not be empty", "No luck"]}),
        (
            "Bad Request",
            "",
            &[
                ("email", "email must be an email"),
                ("items[0].sku", "items.0.sku should not be empty"),
                ("", "No luck"),
            ],
        ),
    );
    check_json(
        "class-validator objects",
        400,
        &json!({"message": [{"property": "items", "children": [{"property": "0", "children": [
            {"property": "sku", "constraints": {"isString": "sku must be a string"}}]}]}]}),
        ("", "", &[("items[0].sku", "sku must be a string")]),
    );
    check_json(
        "nest",
        404,
        &json!({"statusCode": 404, "message": "Cannot GET /x", "error": "Not Found"}),
        ("Cannot GET /x", "", &[]),
    );
    check_json(
        "ajv",
        400,
        &json!({"errors": [{"instancePath": "/items/0", "keyword": "required", "params": {"missingProperty": "sku"},
            "message": "must have required property 'sku'"}]}),
        ("", "", &[("items[0].sku", "must have required property 'sku'")]),
    );
    check_json(
        "fastify",
        400,
        &json!({"statusCode": 400, "code": "FST_ERR_VALIDATION", "error": "Bad Request", "message": "body/age must be integer"}),
        ("body/age must be integer", "FST_ERR_VALIDATION", &[("age", "body/age must be integer")]),
    );
    check_json(
        "express-validator",
        400,
        &json!({"errors": [{"type": "field", "msg": "Invalid value", "path": "items[0].sku", "location": "body"}]}),
        ("", "", &[("items[0].sku", "Invalid value")]),
    );
    check_json(
        "joi",
        400,
        &json!({"message": "Validation failed", "details": [{"message": "\"email\" is required", "path": ["email"],
            "type": "any.required", "context": {"key": "email"}}]}),
        ("Validation failed", "", &[("email", "\"email\" is required")]),
    );
    check_json(
        "mongoose",
        400,
        &json!({"message": "User validation failed", "errors": {"email": {"name": "ValidatorError", "kind": "required",
            "message": "Path `email` is required.", "path": "email", "properties": {}}}}),
        ("User validation failed", "", &[("email", "Path `email` is required.")]),
    );
}

#[test]
fn the_other_frameworks_are_read() {
    let cases: [(&str, u16, Value, Expected<'_>); 14] = [
        (
            "stripe",
            402,
            json!({"error": {"code": "parameter_missing", "message": "Missing", "param": "items[0][price]",
                "type": "invalid_request_error"}}),
            ("Missing", "parameter_missing", &[("items[0].price", "Missing")]),
        ),
        (
            "openai without a parameter",
            401,
            json!({"error": {"code": "invalid_api_key", "message": "Wrong key", "param": null}}),
            ("Wrong key", "invalid_api_key", &[]),
        ),
        (
            "graphql",
            200,
            json!({"data": null, "errors": [{"message": "m", "path": ["createUser"], "locations": [],
                "extensions": {"code": "BAD_USER_INPUT", "argumentName": "email"}}]}),
            ("m", "BAD_USER_INPUT", &[("email", "m")]),
        ),
        (
            "graphql path",
            400,
            json!({"errors": [{"message": "m", "path": ["users", 0, "name"], "extensions": {"code": "X"}}]}),
            ("m", "X", &[("", "m")]),
        ),
        ("rails", 422, json!({"errors": {"email": ["can't be blank"]}}), ("", "", &[("email", "can't be blank")])),
        (
            "rails full messages",
            422,
            json!({"errors": ["Email can't be blank"]}),
            ("Email can't be blank", "", &[("email", "Email can't be blank")]),
        ),
        ("rails details", 422, json!({"errors": {"email": [{"error": "blank"}]}}), ("", "", &[("email", "blank")])),
        ("devise", 401, json!({"errors": "Sign in first"}), ("Sign in first", "", &[])),
        (
            "json:api",
            422,
            json!({"errors": [{"status": "422", "code": "blank", "source": {"pointer": "/data/attributes/title"},
                "title": "Invalid Attribute", "detail": "must be set"}]}),
            ("Invalid Attribute", "blank", &[("title", "must be set")]),
        ),
        (
            "laravel",
            422,
            json!({"message": "The given data was invalid.", "errors": {"items.0.sku": ["The items.0.sku field is required."]}}),
            ("The given data was invalid.", "", &[("items[0].sku", "The items.0.sku field is required.")]),
        ),
        (
            "spring",
            400,
            json!({"timestamp": "t", "status": 400, "error": "Bad Request", "message": "Validation failed", "path": "/x",
                "errors": [{"field": "email", "defaultMessage": "must not be blank", "code": "NotBlank", "objectName": "u"}]}),
            ("Validation failed", "", &[("email", "must not be blank")]),
        ),
        (
            "google",
            400,
            json!({"error": {"code": 400, "message": "Bad", "status": "INVALID_ARGUMENT", "details": [
                {"@type": "x/ErrorInfo", "reason": "R", "domain": "d"},
                {"@type": "x/BadRequest", "fieldViolations": [{"field": "a.b", "description": "m"}]}]}}),
            ("Bad", "INVALID_ARGUMENT", &[("a.b", "m")]),
        ),
        (
            "github",
            422,
            json!({"message": "Validation Failed", "errors": [{"resource": "Issue", "field": "title", "code": "missing_field"}]}),
            ("Validation Failed", "", &[("title", "missing_field")]),
        ),
        (
            "oauth",
            400,
            json!({"error": "invalid_grant", "error_description": "The refresh token is expired"}),
            ("The refresh token is expired", "invalid_grant", &[]),
        ),
    ];
    for (name, status, value, expected) in &cases {
        check_json(name, *status, value, *expected);
    }
}

#[test]
fn a_message_that_is_a_list_of_issues_is_read_as_issues() {
    let issues = r#"[ {"code":"too_small","path":["items",0,"password"],"message":"Too small: expected string"} ]"#;
    let pairs = &[("items[0].password", "Too small: expected string")];
    check_json("zod 4", 400, &json!({"error": {"name": "ZodError", "message": issues}}), ("ZodError", "", pairs));
    check_json("thrown", 500, &json!({"message": issues}), ("Too small: expected string", "", pairs));
    check_json("as error", 400, &json!({"error": issues}), ("Too small: expected string", "", pairs));
    let body = read(400, Response::Json(&json!({"error": {"message": issues}})));
    assert_eq!(body.errors[0].code, "too_small");
    for other in ["[1]", "[]", "[{\"message\": \"m\"}]", "[oops]"] {
        check_json(other, 400, &json!({"message": other}), (other, "", &[]));
    }
}

#[test]
fn gos_validator_names_its_fields_line_by_line() {
    let lines = ["Email", "Items[0].Sku"].map(|field| {
        let name = field.rsplit('.').next().unwrap();
        format!("Key: 'User.{field}' Error:Field validation for '{name}' failed on the 'required' tag")
    });
    let text = lines.join("\n");
    let pairs = &[("Email", lines[0].as_str()), ("Items[0].Sku", lines[1].as_str())];
    check_json("gin", 400, &json!({"error": text}), (&text, "", pairs));
    check_json("message", 400, &json!({"message": text}), (&text, "", pairs));
    check_json("nested", 400, &json!({"error": {"message": text}}), (&text, "", pairs));
    check("text", 400, Response::Text(&text), (&lines[0], "", pairs));
    let errors = field_errors(&json!([text])).errors;
    assert_eq!((errors.len(), errors[0].field.as_str(), errors[1].code.as_str()), (2, "Email", "required"));
    assert_eq!(crate::event::rule::of(&errors[0].message, &errors[0].code), "required");
}

#[test]
fn rails_full_messages_name_their_field_where_it_is_one_word() {
    let field = |message: &str| field_errors(&json!([message])).errors.remove(0).field;
    for message in [
        "Name can't be blank",
        "Name can’t be blank",
        "Name is invalid",
        "Name has already been taken",
        "Name is too short (minimum is 8 characters)",
        "Name is not a number",
    ] {
        assert_eq!(field(message), "name", "{message}");
    }
    for message in
        ["First name can't be blank", "This is invalid", "Name is sad", "NAME is invalid", "Request is invalid"]
    {
        assert_eq!(field(message), "", "{message}");
    }
}

#[test]
fn graphql_shows_the_input_and_never_the_resolver() {
    let path = |message: &str| {
        let error = json!({"message": message, "path": ["createUser"], "locations": [{"line": 1, "column": 2}]});
        read(400, Response::Json(&json!({"errors": [error]}))).errors.remove(0).path
    };
    let got = "Variable \"$input\" got invalid value";
    assert_eq!(path(&format!("{got} \"x\" at \"input.age\"; Int cannot represent it")), "input.age");
    assert_eq!(path(&format!("{got} {{}}; Field \"age\" of required type \"Int!\" was not provided.")), "age");
    assert_eq!(path(&format!("{got} {{}} at \"input.user\"; Field \"age\" of required type")), "input.user.age");
    assert_eq!(path("Cannot query field \"x\" on type \"Query\"."), "");
    assert_eq!(path("Not allowed"), "");
}
