//! A small world of services, accounts and mistakes that makes events as a real API would.
//!
//! Accounts and mistakes follow Zipf-like weights; half of the people try again; some client hammers a rate limit every
//! minute or so; every few minutes a route fails for half a minute with an exception; a release changes on the way. Time is
//! passed in, so a seed and a sequence of times give the same events.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use super::{
    mistakes::{AUTO_CLUSTER, GENERATE, MISTAKES, Mistake},
    random::Random,
};

const ACCOUNTS: u64 = 40;

/// Requests per minute on the routes that call an AI model.
const AI_LIMIT: u64 = 10;

/// Mean seconds between two episodes of hammering, and two incidents.
const EPISODE_EVERY_S: f64 = 75.0;
const INCIDENT_EVERY_S: f64 = 200.0;

const RELEASES: [&str; 2] = ["2026.11.1", "2026.11.2"];

/// When the second release comes, milliseconds after the start.
const DEPLOY_AFTER_MS: i64 = 240_000;

const AGENTS: [&str; 4] = ["axios/1.7.7", "python-requests/2.32.3", "okhttp/4.12.0", "Mozilla/5.0 (X11; Linux x86_64)"];

/// The state of the world.
pub struct World {
    random: Random,
    started_ms: i64,
    retries: Vec<Retry>,
    hammering: Option<Hammering>,
    next_hammering_ms: i64,
    incident_until_ms: i64,
    next_incident_ms: i64,
}

/// A person who will try again.
struct Retry {
    at_ms: i64,
    account: u64,
    mistake: &'static Mistake,
}

/// A client that goes on in spite of 429.
struct Hammering {
    account: u64,
    until_ms: i64,
}

impl World {
    pub fn new(seed: u64, now_ms: i64) -> Self {
        let mut random = Random::new(seed);
        // The first ones come soon, so that there is something to see.
        let next_hammering_ms = now_ms + 5_000 + random.below(5_000) as i64;
        let next_incident_ms = now_ms + 20_000 + random.below(20_000) as i64;
        Self {
            random,
            started_ms: now_ms,
            retries: Vec::new(),
            hammering: None,
            next_hammering_ms,
            incident_until_ms: 0,
            next_incident_ms,
        }
    }

    /// The next event, at a time that never goes back.
    pub fn event(&mut self, now_ms: i64) -> Value {
        self.begin_and_end(now_ms);
        if let Some(account) = self.hammering.as_ref().map(|hammering| hammering.account)
            && self.random.chance(0.35)
        {
            return self.rate_limited(account, now_ms);
        }
        if now_ms < self.incident_until_ms && self.random.chance(0.45) {
            return self.incident(now_ms);
        }
        if let Some(due) = self.retries.iter().position(|retry| retry.at_ms <= now_ms) {
            let retry = self.retries.swap_remove(due);
            return self.mistake(retry.mistake, retry.account, now_ms);
        }
        if self.random.chance(0.01) {
            return self.gateway(now_ms);
        }
        let (account, mistake) = (self.account(), self.any_mistake());
        if self.random.chance(0.3) {
            let at_ms = now_ms + 2_000 + self.random.waiting(8_000.0) as i64;
            self.retries.push(Retry { at_ms, account, mistake });
        }
        self.mistake(mistake, account, now_ms)
    }

    fn begin_and_end(&mut self, now_ms: i64) {
        if self.hammering.as_ref().is_some_and(|hammering| hammering.until_ms <= now_ms) {
            self.hammering = None;
        }
        if self.hammering.is_none() && self.next_hammering_ms <= now_ms {
            let until_ms = now_ms + 20_000 + self.random.below(40_000) as i64;
            self.hammering = Some(Hammering { account: self.account(), until_ms });
            self.next_hammering_ms = until_ms + (self.random.waiting(EPISODE_EVERY_S) * 1000.0) as i64;
        }
        if self.next_incident_ms <= now_ms {
            self.incident_until_ms = now_ms + 20_000 + self.random.below(20_000) as i64;
            self.next_incident_ms = self.incident_until_ms + (self.random.waiting(INCIDENT_EVERY_S) * 1000.0) as i64;
        }
    }

    fn account(&mut self) -> u64 {
        // Ranks are dealt to account numbers so that the largest is not number 1.
        (self.random.zipf(ACCOUNTS) * 17 + 17) % 41
    }

    fn any_mistake(&mut self) -> &'static Mistake {
        let total: u64 = MISTAKES.iter().map(|mistake| mistake.weight).sum();
        let mut left = self.random.below(total);
        for mistake in MISTAKES {
            if left < mistake.weight {
                return mistake;
            }
            left -= mistake.weight;
        }
        &MISTAKES[0]
    }

    fn mistake(&mut self, mistake: &Mistake, account: u64, now_ms: i64) -> Value {
        let mut event = self.base(mistake.service, mistake.method, mistake.route, now_ms);
        if mistake.status != 401 {
            self.sign(&mut event, account);
        }
        let mut errors: Map<String, Value> = Map::new();
        for (field, message) in mistake.errors {
            let list = errors.entry(*field).or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(json!(message)));
        }
        answer(&mut event, mistake.status, mistake.error, errors);
        if mistake.status >= 500 {
            event
                .insert("exception".into(), exception("ZeroDivisionError", "division by zero", "billing/usage.py", 88));
        }
        Value::Object(event)
    }

    fn rate_limited(&mut self, account: u64, now_ms: i64) -> Value {
        let mut event = self.base("igny8-api", "POST", AUTO_CLUSTER, now_ms);
        self.sign(&mut event, account);
        answer(&mut event, 429, "Rate limit exceeded", Map::new());
        let seconds = now_ms.div_euclid(1000);
        let reset = (seconds.div_euclid(60) + 1) * 60;
        let headers = json!({
            "X-Throttle-Limit": AI_LIMIT.to_string(),
            "X-Throttle-Remaining": "0",
            "X-Throttle-Reset": reset.to_string(),
            "Retry-After": (reset - seconds).to_string(),
        });
        event.insert("response_headers".into(), headers);
        Value::Object(event)
    }

    fn incident(&mut self, now_ms: i64) -> Value {
        let account = self.account();
        let mut event = self.base("igny8-api", "POST", GENERATE, now_ms);
        self.sign(&mut event, account);
        answer(&mut event, 500, "Internal server error", Map::new());
        let message = "table writer_generationrun has no column named model_tier";
        event.insert("exception".into(), exception("OperationalError", message, "writer/views.py", 62));
        Value::Object(event)
    }

    /// A page of the gateway in front, which knows no request id.
    fn gateway(&mut self, now_ms: i64) -> Value {
        let mut event = self.base("igny8-media", "GET", "/api/v1/writer/images/{id}/", now_ms);
        event.remove("request_id");
        event.insert("status".into(), json!(502));
        event.insert("response".into(), json!("<html><head><title>502 Bad Gateway</title></head></html>"));
        Value::Object(event)
    }

    /// What all events have.
    fn base(&mut self, service: &str, method: &str, route: &str, now_ms: i64) -> Map<String, Value> {
        let path = route.replace("{id}", &(1 + self.random.below(9_999)).to_string());
        let is_new = now_ms - self.started_ms >= DEPLOY_AFTER_MS;
        let environment = if self.random.chance(0.04) { "staging" } else { "production" };
        // Most answers take milliseconds, few take seconds.
        let duration_ms = (self.random.waiting(25.0) * 10.0).round() / 10.0;
        let event = json!({
            "timestamp": timestamp(now_ms),
            "request_id": self.request_id(service, now_ms),
            "service": service,
            "environment": environment,
            "release": RELEASES[usize::from(is_new || environment == "staging")],
            "host": format!("{service}-{}", 1 + self.random.below(3)),
            "method": method,
            "path": path,
            "route": route,
            "duration_ms": duration_ms,
            "client_ip": format!("203.0.113.{}", 1 + self.random.below(254)),
            "user_agent": *self.random.one_of(&AGENTS),
        });
        match event {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    fn sign(&mut self, event: &mut Map<String, Value>, account: u64) {
        event.insert("account_id".into(), json!(account));
        event.insert("user_id".into(), json!(account * 10 + self.random.zipf(8)));
    }

    /// UUIDs; the media service makes ULIDs and ids of its own.
    fn request_id(&mut self, service: &str, now_ms: i64) -> String {
        let (high, low) = (self.random.bits(), self.random.bits());
        match (service, low % 2) {
            ("igny8-media", 0) => ulid(now_ms, high, low),
            ("igny8-media", _) => format!("req_{high:016x}"),
            _ => uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
                .into_uuid()
                .to_string(),
        }
    }
}

/// Sets the status and the body, in the envelope of the reference.
fn answer(event: &mut Map<String, Value>, status: u16, error: &str, errors: Map<String, Value>) {
    let mut body = json!({ "success": false, "error": error, "request_id": event.get("request_id") });
    if !errors.is_empty() {
        body["errors"] = Value::Object(errors);
    }
    event.insert("status".into(), json!(status));
    event.insert("response".into(), body);
}

fn exception(kind: &str, message: &str, file: &str, line: u32) -> Value {
    let trace = format!(
        "Traceback (most recent call last):\n  File \"/srv/igny8/{file}\", line {line}, in post\n    run = self.start(task)\n{kind}: {message}\n"
    );
    json!({ "type": kind, "message": message, "stacktrace": trace })
}

/// Milliseconds since the Unix epoch as RFC 3339.
pub fn timestamp(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms)
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// 48 bits of time and 80 random ones in Crockford's base 32.
fn ulid(now_ms: i64, high: u64, low: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u128::from(now_ms.max(0) as u64 & 0xffff_ffff_ffff);
    let bits = (time << 80) | (u128::from(high & 0xffff) << 64) | u128::from(low);
    (0..26).rev().map(|digit| char::from(ALPHABET[(bits >> (digit * 5)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const START_MS: i64 = 1_794_873_600_000;

    /// Twenty events a second for ten minutes.
    fn stream(seed: u64) -> Vec<Value> {
        let mut world = World::new(seed, START_MS);
        (0..12_000).map(|index| world.event(START_MS + index * 50)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_traffic() {
        assert_eq!(stream(3)[..500], stream(3)[..500]);
        assert_ne!(stream(3)[..500], stream(4)[..500]);
    }

    #[test]
    fn every_status_of_the_reference_occurs_with_its_envelope() {
        let mut statuses = BTreeMap::new();
        for event in stream(1) {
            let status = event["status"].as_u64().unwrap();
            *statuses.entry(status).or_insert(0) += 1;
            if status != 502 {
                assert_eq!(event["response"]["success"], false);
                assert_eq!(event["response"]["request_id"], event["request_id"]);
                crate::event::RequestId::parse(event["request_id"].as_str().unwrap()).unwrap();
            }
        }
        for status in [400, 401, 403, 404, 409, 422, 429, 500, 502] {
            assert!(statuses.get(&status).is_some_and(|count| *count > 20), "{status}: {statuses:?}");
        }
    }

    #[test]
    fn a_429_says_when_the_limit_opens_again() {
        let limited: Vec<_> = stream(1).into_iter().filter(|event| event["status"] == 429).collect();
        for event in &limited {
            let reset: i64 = event["response_headers"]["X-Throttle-Reset"].as_str().unwrap().parse().unwrap();
            let at = DateTime::parse_from_rfc3339(event["timestamp"].as_str().unwrap()).unwrap().timestamp();
            assert!((1..=60).contains(&(reset - at)), "{event}");
        }
        let accounts: std::collections::BTreeSet<_> =
            limited.iter().map(|event| event["account_id"].as_u64()).collect();
        assert!(limited.len() > 10 * accounts.len(), "episodes belong to one account each");
    }

    #[test]
    fn ids_come_in_every_form() {
        let ids: Vec<String> =
            stream(1).iter().filter_map(|event| event["request_id"].as_str().map(Into::into)).collect();
        let ulid = |id: &&String| id.len() == 26 && id.starts_with("01");
        assert!(ids.iter().any(|id| uuid::Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4)));
        assert!(ids.iter().any(|id| id.starts_with("req_")));
        assert!(ids.iter().find(ulid).is_some());
        assert!(stream(1).iter().any(|event| event.get("request_id").is_none()));
    }

    #[test]
    fn a_ulid_begins_with_its_time() {
        assert_eq!(ulid(1_469_918_176_385, 0, 0), "01ARYZ6S410000000000000000");
    }
}
