//! The kinds of malformed input and what each must be answered.

use serde_json::{Value, json};

use super::Random;
use crate::collector;

mod encoded;
mod wrong;

use self::{
    encoded::{bomb, damaged_encoding, decompressed, gzip, unknown_encoding, wrong_encoding},
    wrong::{bad_event_id, bad_request_id, bad_status, bad_timestamp, wrong_type},
};

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// One request.
pub struct Input {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Status of the answer.
    pub expected: u16,
    /// Items that the answer to a mixed batch must count as rejected.
    pub rejected: Option<u64>,
}

impl Input {
    fn new(content_type: &str, body: impl Into<Vec<u8>>, expected: u16) -> Self {
        Self { headers: vec![("Content-Type", content_type.to_owned())], body: body.into(), expected, rejected: None }
    }

    fn encoded(mut self, encoding: &str) -> Self {
        self.headers.push(("Content-Encoding", encoding.to_owned()));
        self
    }
}

/// A kind of input.
pub struct Kind {
    pub name: &'static str,
    /// How many of the thousand.
    pub count: usize,
    pub make: fn(&mut Random) -> Input,
}

const fn kind(name: &'static str, count: usize, make: fn(&mut Random) -> Input) -> Kind {
    Kind { name, count, make }
}

pub const KINDS: &[Kind] = &[
    kind("bad syntax", 170, bad_syntax),
    kind("cut off", 50, cut_off),
    kind("random bytes", 30, random_bytes),
    kind("invalid UTF-8", 30, invalid_utf8),
    kind("UTF-16", 6, utf16),
    kind("nothing in it", 20, nothing),
    kind("no object", 24, no_object),
    kind("status out of range", 50, bad_status),
    kind("timestamp out of range", 50, bad_timestamp),
    kind("bad request id", 30, bad_request_id),
    kind("bad event id", 10, bad_event_id),
    kind("wrong type", 200, wrong_type),
    kind("depth 127", 6, |random| nested(random, 127, 202)),
    kind("depth 128", 6, |random| nested(random, 128, 422)),
    kind("depth 129", 6, |random| nested(random, 129, 422)),
    kind("a million brackets", 6, million_brackets),
    kind("event at its limit", 4, |random| event_of(random, 256 * KIB, 202)),
    kind("event over its limit", 4, |random| event_of(random, 256 * KIB + 1, 422)),
    kind("body at its limit", 2, |random| body_of(random, 16 * MIB, 202)),
    kind("body over its limit", 4, |random| body_of(random, 16 * MIB + 1, 413)),
    kind("decompressed at its limit", 2, |random| decompressed(random, 64 * MIB, 202)),
    kind("decompressed over its limit", 3, |random| decompressed(random, 64 * MIB + 1, 413)),
    kind("bomb", 9, bomb),
    kind("damaged encoding", 60, damaged_encoding),
    kind("wrong encoding", 20, wrong_encoding),
    kind("unknown encoding", 16, unknown_encoding),
    kind("unknown content type", 16, unknown_content_type),
    kind("NUL", 20, nul),
    kind("lone surrogates", 20, lone_surrogates),
    kind("10,000 fields", 4, |random| wide(random, "unknown")),
    kind("10,000 attributes", 4, |random| wide(random, "attributes")),
    kind("10,000 errors", 6, |random| wide(random, "errors")),
    kind("50,000 tiny items", 3, |random| tiny(random, 50_000, 202)),
    kind("50,001 tiny items", 2, |random| tiny(random, 50_001, 413)),
    kind("50,000 items of many attributes", 2, many_attributes),
    kind("repeated keys", 20, repeated_keys),
    kind("marks and line ends", 25, marks),
    kind("mixed batch", 30, mixed),
    kind("hostile values", 30, hostile_values),
];

/// Without digits, so that no input which replaces the status hits it.
fn id(random: &mut Random) -> String {
    let number = random.next();
    let letters = (0..16).map(|nibble| char::from(b'a' + (number >> (4 * nibble) & 15) as u8));
    "req_".chars().chain(letters).collect()
}

fn event(random: &mut Random) -> Value {
    collector::event(&id(random), 422)
}

fn with(random: &mut Random, field: &str, value: Value) -> String {
    let mut event = event(random);
    event[field] = value;
    event.to_string()
}

/// A line, or a document of its own.
fn item(random: &mut Random, text: impl AsRef<[u8]>, expected: u16) -> Input {
    Input::new(random.of(&[NDJSON, JSON]), text.as_ref(), expected)
}

fn bad_syntax(random: &mut Random) -> Input {
    let good = event(random).to_string();
    let bad = [
        good.replacen('{', "", 1),
        good.replacen(':', "", 1),
        good.replacen(':', "=", 1),
        good.replacen('"', "'", 2),
        good.replacen('"', "", 2),
        good.replacen(',', ",,", 1),
        good.replacen(',', "", 1),
        good.replacen("422", "0x1a6", 1),
        good.replacen("422", "+422", 1),
        good.replacen("422", "0422", 1),
        good.replacen("422", "422.", 1),
        good.replacen("422", ".422e3", 1),
        good.replacen("422", "NaN", 1),
        good.replacen("422", "-Infinity", 1),
        good.replacen("422", "1e400", 1),
        good.replacen("422", "undefined", 1),
        good.replacen("422", "True", 1),
        good.replacen("422", "4 22", 1),
        good.replacen("igny8", r"\x41", 1),
        good.replacen("igny8", r"\u12", 1),
        good.replacen("igny8", r"\u{41}", 1),
        good.replacen("igny8", "a\u{1}b", 1),
        good.replacen("igny8", "a\tb", 1),
        good.replacen('{', "{/* c */", 1),
        good.replacen('{', "{// c ", 1),
        good.replacen('}', ",}", 1),
        format!("{good}}}"),
        format!("{good}{good}"),
        format!("{good},"),
        format!("[{good}"),
        format!("({good})"),
        format!("data: {good}"),
        format!("\u{feff}\u{feff}{good}"),
        "status=500&error=x".to_owned(),
        "<html><body>502 Bad Gateway</body></html>".to_owned(),
        "status: 500\nerror: x".to_owned(),
        "500 Internal Server Error".to_owned(),
        "nul".to_owned(),
        "\"".to_owned(),
        "]".to_owned(),
        "--".to_owned(),
    ];
    let text = random.of(&bad);
    item(random, text, 400)
}

fn cut_off(random: &mut Random) -> Input {
    let good = event(random).to_string();
    let end = random.below(good.len());
    item(random, &good[..end], 400)
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

fn random_bytes(random: &mut Random) -> Input {
    let len = 1 + random.below(4 * KIB);
    let mut body = bytes(random, len);
    // Without line ends it is one line, and no text.
    body.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = 0);
    body[0] |= 0x80;
    item(random, body, 400)
}

fn invalid_utf8(random: &mut Random) -> Input {
    let sequences: [&[u8]; 8] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\x80",
        b"\xf0\x9f\x98",
        b"\xfe\xff",
    ];
    let text = event(random).to_string();
    let (head, tail) = text.split_once("igny8").unwrap();
    let body = [head.as_bytes(), random.of(&sequences), tail.as_bytes()].concat();
    item(random, body, 400)
}

fn utf16(random: &mut Random) -> Input {
    let text = event(random).to_string();
    let big = random.below(2) == 0;
    let unit = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
    let body: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect();
    item(random, body, 400)
}

fn nothing(random: &mut Random) -> Input {
    let empty = ["", " ", "\n", "\r\n\r\n", "\u{feff}", "\u{feff}\n", "\n\t \n", "   \r\n"];
    if random.below(4) == 0 {
        return Input::new(JSON, random.of(&["[]", " [ ] ", "[\n]", "\u{feff}[]"]), 400);
    }
    let text = random.of(&empty);
    item(random, text, 400)
}

fn no_object(random: &mut Random) -> Input {
    let values = ["null", "true", "0", "-0", "422", "1e5", "\"\"", "\"{}\"", "\"x\""];
    let value = random.of(&values);
    match random.below(3) {
        0 => Input::new(NDJSON, value, 422),
        1 => Input::new(JSON, format!("[{value}]"), 422),
        _ => Input::new(JSON, format!("[[{value}], [], {value}]"), 422),
    }
}

/// Nested so many levels, the event itself included.
fn nested(random: &mut Random, levels: usize, expected: u16) -> Input {
    let (open, close) = random.of(&[("[", "]"), ("{\"a\":", "}")]);
    let inner = levels - 1 - usize::from(open == "{\"a\":");
    let value = format!("{}{}{}", open.repeat(inner), if open == "[" { "" } else { "{}" }, close.repeat(inner));
    let field = random.of(&["response", "errors", "attributes", "deep"]);
    let text = format!(r#"{{"status":500,"request_id":"{}","{field}":{value}}}"#, id(random));
    item(random, text, expected)
}

fn million_brackets(random: &mut Random) -> Input {
    let open = "[".repeat(1_000_000);
    match random.below(4) {
        0 => Input::new(JSON, open, 400),
        1 => Input::new(JSON, open + &"]".repeat(1_000_000), 422),
        2 => Input::new(NDJSON, open, 422),
        _ => Input::new(JSON, "{\"a\":".repeat(200_000), 422),
    }
}

/// An event of exactly so many bytes.
fn sized(random: &mut Random, bytes: usize) -> String {
    let empty = with(random, "error", json!(""));
    let fill = bytes - empty.len();
    // Words of random letters, so that it compresses no better than text does.
    let mut text = String::with_capacity(fill);
    while text.len() < fill {
        let word = format!("{:012x} ", random.next() >> 16);
        for _ in 0..8 {
            text.push_str(&word);
        }
    }
    empty.replacen("\"error\":\"\"", &format!("\"error\":\"{}\"", &text[..fill]), 1)
}

fn event_of(random: &mut Random, bytes: usize, expected: u16) -> Input {
    let text = sized(random, bytes);
    item(random, text, expected)
}

/// Lines of together exactly so many bytes.
fn lines(random: &mut Random, bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes);
    while body.len() < bytes {
        let next = (bytes - body.len()).min(256 * KIB);
        if next < 2 * KIB {
            body.resize(bytes, b'\n');
            break;
        }
        body.extend_from_slice(sized(random, next - 1).as_bytes());
        body.push(b'\n');
    }
    body
}

fn body_of(random: &mut Random, bytes: usize, expected: u16) -> Input {
    Input::new(NDJSON, lines(random, bytes), expected)
}

fn unknown_content_type(random: &mut Random) -> Input {
    let types = [
        "text/plain",
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "json",
        "*/*",
        ";",
        "application/json+x",
    ];
    let mut input = Input::new(random.of(&types), event(random).to_string(), 415);
    if random.below(4) == 0 {
        input.headers.clear();
    }
    input
}

fn nul(random: &mut Random) -> Input {
    let text = event(random).to_string();
    match random.below(3) {
        0 => item(random, text.replacen("igny8", "\0", 1), 400),
        1 => item(random, format!("{text}\0"), 400),
        _ => item(random, text.replacen("igny8", r"a\u0000b", 1), 202),
    }
}

fn lone_surrogates(random: &mut Random) -> Input {
    let escapes = [r"\ud800", r"\udc00", r"\udfff\ud800", r"\ud83d\ud83d\ude00", r"\ud800A", r"\uDBFFx\uDC00"];
    let text = event(random).to_string().replace("igny8", random.of(&escapes));
    item(random, text, 202)
}

fn wide(random: &mut Random, what: &str) -> Input {
    let mut whole = event(random);
    let fields = (0..10_000).map(|n| (format!("f{n}"), json!(["m"])));
    match what {
        "unknown" => whole.as_object_mut().unwrap().extend(fields),
        _ => whole[what] = Value::Object(fields.collect()),
    }
    item(random, whole.to_string(), 202)
}

fn tiny(random: &mut Random, items: usize, expected: u16) -> Input {
    let run = random.next();
    let items: Vec<String> = (0..items).map(|n| format!(r#"{{"status":400,"n":"{run:x}{n}"}}"#)).collect();
    if random.below(2) == 0 {
        Input::new(NDJSON, items.join("\n"), expected)
    } else {
        Input::new(JSON, format!("[{}]", items.join(",")), expected)
    }
}

/// As much as fits into a body: what is largest in memory for its size.
fn many_attributes(random: &mut Random) -> Input {
    let items = (0..50_000).map(|_| {
        let fields: String = (0..60).map(|n| format!(",\"{n}\":{}", random.below(1000))).collect();
        format!("{{\"status\":400{fields}}}")
    });
    let text: Vec<String> = items.collect();
    let text = text.join("\n");
    assert!(text.len() < 64 * MIB);
    Input::new(NDJSON, gzip(text.as_bytes()), 202).encoded("gzip")
}

fn repeated_keys(random: &mut Random) -> Input {
    let text = event(random).to_string();
    let key = random.of(&["service", "response", "errors", "x", ""]);
    let repeats = 1 + random.below(1000);
    let more: String = (0..repeats).map(|n| format!("\"{key}\":{n},")).collect();
    item(random, text.replacen('{', &format!("{{{more}"), 1), 202)
}

fn marks(random: &mut Random) -> Input {
    let (one, two) = (event(random).to_string(), event(random).to_string());
    let body = match random.below(5) {
        0 => format!("\u{feff}{one}\n{two}"),
        1 => format!("{one}\r\n{two}\r\n"),
        2 => format!("\r\n\r\n  {one}  \r\n\n\t{two}\n\n"),
        3 => format!("{one}\n{two}"),
        _ => return Input::new(JSON, format!("\u{feff}\r\n [ {one} ,\r\n {two} ]\r\n"), 202),
    };
    Input::new("Application/X-NDJSON; charset=\"utf-8\"", body, 202)
}

/// Good events, bad lines and rejects; at least one good.
fn mixed(random: &mut Random) -> Input {
    let mut lines = vec![event(random).to_string()];
    let mut rejected = 0;
    for _ in 0..random.below(300) {
        lines.push(match random.below(4) {
            0 => event(random).to_string(),
            bad => {
                rejected += 1;
                match bad {
                    1 => "{\"status\":".to_owned(),
                    2 => with(random, "status", json!(-500)),
                    _ => "[1]".to_owned(),
                }
            }
        });
    }
    let swap = random.below(lines.len());
    lines.swap(0, swap);
    Input { rejected: Some(rejected), ..Input::new(NDJSON, lines.join("\n"), 202) }
}

fn hostile_values(random: &mut Random) -> Input {
    let mut event = event(random);
    for field in [
        "service",
        "environment",
        "release",
        "host",
        "method",
        "path",
        "route",
        "error",
        "account_id",
        "user_agent",
        "client_ip",
    ] {
        event[field] = json!(random.of(&super::values::TEXTS));
    }
    event["errors"] = json!({random.of(&super::values::TEXTS): [random.of(&super::values::TEXTS)]});
    item(random, event.to_string(), 202)
}
