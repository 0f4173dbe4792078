//! Error events as the servers of an API ship them: NDJSON, about 500 bytes each, the same for the same seed and start.
//!
//! The cardinalities are those of `benches/store/generator.sql`: 20 services, 400 routes, 50,000 accounts, the latter two drawn
//! by Zipf's law; the bodies are those of the captured traffic in `tests/data`.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

const SERVICES: u64 = 20;
const ROUTES: u32 = 400;
const ACCOUNTS: u32 = 50_000;
const HOSTS: u64 = 40;

/// Mean time between two events, microseconds: 20,000 a second, as one million errors of a bad minute.
const STEP_US: u64 = 50;

/// Status and the `error` of its envelope. Repeated: more often.
const STATUSES: [(u16, &str); 10] = [
    (400, "Validation failed"),
    (400, "Validation failed"),
    (400, "Validation failed"),
    (401, "Token has expired"),
    (403, "Permission denied"),
    (404, "Resource not found"),
    (409, "Conflict"),
    (422, "Validation failed"),
    (429, "Rate limit exceeded"),
    (500, "Internal server error"),
];

/// Field and message of a validation failure. `#` stands for a number, `@` for an e-mail address.
const FAILURES: [(&str, &str); 24] = [
    ("site_id", "Site must belong to your account"),
    ("seed_keyword_id", "This field is required"),
    ("sector_id", "Sector must belong to the selected site"),
    ("title", "This field may not be blank."),
    ("title", "Ensure this field has no more than 200 characters."),
    ("non_field_errors", "The fields site_id, seed_keyword_id must make a unique set."),
    ("email", "Invalid email format"),
    ("email", "User with email @ already exists"),
    ("volume", "A valid integer is required."),
    ("image_type", "Invalid image type"),
    ("password", "Password must be at least 8 characters"),
    ("amount", "Amount must be positive"),
    ("credits", "Insufficient credits"),
    ("due_date", "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."),
    ("name", "Ensure this field has at least 3 characters."),
    ("status", "\\\"archived-#\\\" is not a valid choice."),
    ("keyword_ids", "Invalid pk \\\"#\\\" - object does not exist."),
    ("country", "This field is required."),
    ("priority", "Ensure this value is less than or equal to 10."),
    ("slug", "Enter a valid \\\"slug\\\" consisting of letters, numbers, underscores or hyphens."),
    ("url", "Enter a valid URL."),
    ("content", "This field may not be null."),
    ("language", "Language de-# is not supported"),
    ("keywords.#.volume", "A valid integer is required."),
];

const AGENTS: [&str; 4] = ["axios/1.7.", "python-requests/2.32.", "okhttp/4.12.", "igny8-node/2.3."];
const MODULES: [&str; 5] = ["planner", "writer", "auth", "system", "billing"];
const METHODS: [&str; 4] = ["POST", "POST", "GET", "PATCH"];

const EXCEPTIONS: [(&str, &str); 3] = [
    ("django.db.utils.OperationalError", "database is locked"),
    ("KeyError", "'endpoint'"),
    ("ZeroDivisionError", "division by zero"),
];

/// Some events as one request ships them.
pub struct Body {
    pub ndjson: Vec<u8>,
    pub events: usize,
    /// The request id of the last event.
    pub last_id: String,
}

/// All events of a run, ready to be sent.
pub struct Events {
    pub bodies: Vec<Body>,
    pub count: u64,
    pub bytes: u64,
}

impl Events {
    /// `count` events that end at `end_ms` (milliseconds since the Unix epoch), `each` a body.
    pub fn generate(seed: u64, end_ms: u64, count: u64, each: u64) -> Self {
        let mut generator =
            Generator { random: Random(seed), time_us: (end_ms * 1000).saturating_sub(count * STEP_US) };
        let mut bodies = Vec::with_capacity(count.div_ceil(each) as usize);
        let mut left = count;
        while left > 0 {
            let body = generator.next(left.min(each));
            left -= body.events as u64;
            bodies.push(body);
        }
        let bytes = bodies.iter().map(|body| body.ndjson.len() as u64).sum();
        Self { bodies, count, bytes }
    }

    /// Events in a body.
    pub fn each(&self) -> u64 {
        self.bodies.first().map_or(1, |body| body.events as u64)
    }

    pub fn bytes_each(&self) -> f64 {
        self.bytes as f64 / self.count as f64
    }
}

pub struct Generator {
    random: Random,
    time_us: u64,
}

impl Generator {
    /// Events of this moment; seeds apart from each other give other events.
    pub fn new(seed: u64) -> Self {
        Self { random: Random(mix(seed)), time_us: 0 }
    }

    /// The next events, as if they happened just now.
    pub fn body(&mut self, events: u64) -> Body {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.time_us = now.as_micros() as u64 - events * STEP_US;
        self.next(events)
    }

    fn next(&mut self, events: u64) -> Body {
        let mut text = String::with_capacity(events as usize * 560);
        let mut last_id = String::new();
        for _ in 0..events {
            last_id = self.event(&mut text);
        }
        Body { ndjson: text.into_bytes(), events: events as usize, last_id }
    }

    /// Writes one line and returns its request id.
    fn event(&mut self, line: &mut String) -> String {
        let random = &mut self.random;
        self.time_us += random.below(2 * STEP_US);
        let id = random.uuid();
        let (status, error) = STATUSES[random.below(STATUSES.len() as u64) as usize];
        let account = random.zipf(ACCOUNTS);
        let route = u64::from(random.zipf(ROUTES));
        let hash = mix(u64::from(account));
        let environment = if random.below(20) == 0 { "staging" } else { "production" };
        let release = 1 + u64::from(random.below(10) == 0);
        let user = u64::from(account) * 7 + random.below(3);
        write_all(
            line,
            format_args!(
                r#"{{"request_id":"{id}","timestamp":"{time}","status":{status},"service":"service-{service}","environment":"{environment}","release":"2026.11.{release}","host":"api-{host}","method":"{method}","path":"/api/v1/{module}/resource{route}/"#,
                time = rfc3339(self.time_us / 1000),
                service = route % SERVICES,
                host = random.below(HOSTS),
                method = METHODS[(route % 4) as usize],
                module = MODULES[(route / 4 % 5) as usize],
            ),
        );
        if route % 2 == 0 {
            write_all(line, format_args!("{}/", random.below(100_000)));
        }
        write_all(
            line,
            format_args!(
                r#"","account_id":{account},"user_id":{user},"duration_ms":{whole}.{tenth},"client_ip":"10.{a}.{b}.{c}","user_agent":"{agent}{patch}","#,
                whole = random.below(100),
                tenth = random.below(10),
                a = hash % 200,
                b = hash / 200 % 250,
                c = random.below(4),
                agent = AGENTS[(hash / 7 % 4) as usize],
                patch = hash / 31 % 12,
            ),
        );
        self.answer(line, &id, status, error);
        id
    }

    /// Headers, exception and body of the API's response.
    fn answer(&mut self, line: &mut String, id: &str, status: u16, error: &str) {
        let random = &mut self.random;
        if status == 429 {
            write_all(
                line,
                format_args!(
                    r#""response_headers":{{"Retry-After":"{}","X-Throttle-Limit":"60","X-Throttle-Remaining":"0","X-Throttle-Reset":"{}"}},"#,
                    1 + random.below(60),
                    (self.time_us / 60_000_000 + 1) * 60,
                ),
            );
        }
        if status == 500 {
            let (kind, message) = EXCEPTIONS[random.below(EXCEPTIONS.len() as u64) as usize];
            write_all(
                line,
                format_args!(
                    r#""exception":{{"type":"{kind}","message":"{message}","stacktrace":"File \"views.py\", line {}, in create\n"}},"#,
                    random.below(900),
                ),
            );
        }
        write_all(line, format_args!(r#""response":{{"success":false,"error":"{error}","#));
        if matches!(status, 400 | 409 | 422) {
            line.push_str(r#""errors":{"#);
            let first = random.zipf(FAILURES.len() as u32) as usize - 1;
            failure(line, random, first);
            if random.below(12) == 0 {
                line.push(',');
                // Another field than the first: names do not repeat seven entries on.
                failure(line, random, (first + 7) % FAILURES.len());
            }
            line.push_str("},");
        }
        write_all(line, format_args!("\"request_id\":\"{id}\"}}}}\n"));
    }
}

fn failure(line: &mut String, random: &mut Random, number: usize) {
    let (field, message) = FAILURES[number];
    let mut names = field.split('.');
    write_all(line, format_args!("\"{}\":", names.next().unwrap_or_default()));
    if let (Some(_), Some(name)) = (names.next(), names.next()) {
        write_all(line, format_args!(r#"{{"{}":{{"{name}":["{message}"]}}}}"#, random.below(20)));
        return;
    }
    line.push_str("[\"");
    match message.split_once(['#', '@']) {
        Some((before, after)) if message.contains('@') => {
            write_all(line, format_args!("{before}user{}@mail.example.org{after}", random.below(1_000_000)));
        }
        Some((before, after)) => write_all(line, format_args!("{before}{}{after}", random.below(500))),
        None => line.push_str(message),
    }
    line.push_str("\"]");
}

fn write_all(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what); // a String takes everything
}

/// As clients write it: `2026-11-26T09:00:00.123Z`.
fn rfc3339(ms: u64) -> String {
    chrono::DateTime::from_timestamp_millis(ms as i64)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// `SplitMix64`: small, quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// 1 to `most`; the chance of `n` falls as `1 / n`.
    fn zipf(&mut self, most: u32) -> u32 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (f64::from(most).powf(share) as u32).clamp(1, most)
    }

    /// A random UUID of version 4.
    fn uuid(&mut self) -> String {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

/// The finaliser of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
