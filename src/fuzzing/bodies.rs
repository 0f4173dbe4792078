//! Error bodies of every framework: what is read of one is within its bounds, and the same however the body is written.

use serde_json::{Value, json};

use super::draw::{Draw, text};
use crate::event::{
    body::{self, Body, MAX_CODE, MAX_ERRORS, MAX_MESSAGE, RawFieldError, Response},
    path,
};

const MAX_INPUT: usize = 16 << 10;

/// Statuses that are read differently.
const STATUSES: [u16; 6] = [400, 401, 404, 422, 429, 500];

pub fn run(input: &[u8]) {
    if input.len() > MAX_INPUT {
        return;
    }
    let text = text(input);
    for status in STATUSES {
        assert_bounds(&body::read(status, Response::Text(&text)));
    }
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return };
    for status in STATUSES {
        let read = body::read(status, Response::Json(&value));
        assert_bounds(&read);
        assert_eq!(body::read(status, Response::Json(&value)), read, "reading again gives the same");
        if value.is_object() || value.is_array() {
            let written = format!("\n{}", serde_json::to_string_pretty(&value).unwrap());
            assert_eq!(body::read(status, Response::Text(&written)), read, "JSON in a text is JSON");
        }
    }
    field_errors(&value);
    planted(&mut Draw::new(input));
}

fn assert_bounds(body: &Body) {
    assert!(body.error.len() <= MAX_MESSAGE && body.code.len() <= MAX_CODE && body.errors.len() <= MAX_ERRORS);
    body.errors.iter().for_each(assert_error);
}

fn assert_error(error: &RawFieldError) {
    assert!(
        !error.message.is_empty() && error.message.len() <= MAX_MESSAGE && error.code.len() <= MAX_CODE,
        "{error:?}"
    );
    assert!(error.path.len() <= path::MAX_LEN, "{error:?}");
    assert_eq!(path::collapse(&error.path), error.field);
}

/// Errors that stand alone are those of a body that has them under `errors`.
fn field_errors(value: &Value) {
    let alone = body::field_errors(value);
    assert!(alone.errors.len() <= MAX_ERRORS);
    alone.errors.iter().for_each(assert_error);
}

/// One error of one field, as frameworks write it, among whatever else the body has.
fn planted(draw: &mut Draw<'_>) {
    const MESSAGE: &str = "This field is required.";
    let body = match draw.below(7) {
        0 => json!({"sku": [MESSAGE]}),
        1 => json!({"success": false, "error": "Validation failed", "errors": {"sku": [MESSAGE]}}),
        2 => json!({"detail": [{"loc": ["body", "sku"], "msg": MESSAGE, "type": "missing"}]}),
        3 => {
            json!({"type": "about:blank", "title": "Bad", "status": 422, "errors": [{"pointer": "#/sku", "detail": MESSAGE}]})
        }
        4 => json!({"errors": [{"source": {"pointer": "/sku"}, "detail": MESSAGE, "status": "422"}]}),
        5 => json!({"issues": [{"path": ["sku"], "message": MESSAGE, "code": "invalid_type"}]}),
        _ => json!({"statusCode": 422, "message": "no", "errors": [{"field": "sku", "message": MESSAGE}]}),
    };
    let read = body::read(422, Response::Json(&body));
    let [error] = &read.errors[..] else { panic!("{body}: {read:?}") };
    assert_eq!((error.field.as_str(), error.message.as_str()), ("sku", MESSAGE), "{body}");
}
