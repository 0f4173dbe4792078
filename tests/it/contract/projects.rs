//! Two projects never see each other, and some roles see nobody's name.

use errata::state::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, token};
use crate::collector::{Collector, event};

/// An event of a project, which every filter and grouping can tell from another's; it claims to be of project `claimed`.
fn event_of(project: &str, claimed: &str, index: usize, status: u16) -> Value {
    let mut event = event(&format!("{project}-request-{index}"), status);
    event["project"] = json!(claimed);
    event["service"] = json!(format!("{project}-service"));
    event["account_id"] = json!("shared-account");
    event["user_id"] = json!(format!("{project}-user"));
    event["client_ip"] = json!("192.0.2.7");
    event["user_agent"] = json!(format!("{project}-agent"));
    event["host"] = json!(format!("{project}-host"));
    event["path"] = json!(format!("/api/v1/people/{project}-person/"));
    event["request_headers"] = json!({"Accept-Language": "de"});
    event["response"]["errors"] = json!({format!("{project}_field"): [format!("{project} message")]});
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projects_never_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let admins = ["alpha", "beta"].map(|project| (project, token(dir.path(), project, &[Role::Admin], None, None)));
    for ((project, token), other) in admins.iter().zip(["beta", "alpha"]) {
        let mut events: Vec<Value> = (0..4).map(|i| event_of(project, other, i, 422)).collect();
        events[3]["account_id"] = json!(format!("{project}-account"));
        events.push(event_of(project, other, 4, 429));
        // The same id in both: each sees its own event.
        let mut shared = event_of(project, other, 5, 500);
        shared["request_id"] = json!("shared-request-1");
        events.push(shared);
        let answer = collector.ship_as(token, &events).await;
        assert_eq!(answer.envelope("ship")["data"]["accepted"], 6, "{}", answer.text);
    }
    collector.delivered().await;
    let paths = [
        "/api/v1/events",
        "/api/v1/events?account_id=shared-account&limit=2",
        "/api/v1/events?service=alpha-service,beta-service",
        "/api/v1/events?q=message",
        "/api/v1/requests/alpha-request-0",
        "/api/v1/requests/beta-request-0",
        "/api/v1/requests/alpha-request-4",
        "/api/v1/requests/beta-request-4",
        "/api/v1/requests/shared-request-1",
        "/api/v1/rates?group_by=status,service,route",
        "/api/v1/rate-limits",
        "/api/v1/validation/failures?group_by=field,rule,route,message,account,path&compare=previous",
        "/api/v1/validation/friction",
        "/api/v1/validation/friction/accounts",
        "/api/v1/issues",
        "/api/v1/issues?service=alpha-service,beta-service&sort=count",
        "/api/v1/issues?q=_field&limit=1",
        "/api/v1/quarantine",
    ];
    let ticket = "alpha-request-1 beta-request-1 shared-request-1";
    for ((project, token), other) in admins.iter().zip(["beta", "alpha"]) {
        for path in paths {
            let (status, body) = collector.read(token, path).await;
            let is_of_other = path.contains(&format!("/{other}-"));
            assert_eq!(status, if is_of_other { 404 } else { 200 }, "{project} {path}: {body}");
            // What the client called `project` is an attribute, and names the other one.
            let text = body.to_string().replace(&format!(r#""project":"{other}""#), "");
            for trace in ["service", "account", "user", "agent", "host", "person", "field", "message"] {
                for trace in [format!("{other}-{trace}"), format!("{other}_{trace}"), format!("{other} {trace}")] {
                    assert!(!text.contains(&trace), "{project} {path} shows {trace}: {body:#}");
                }
            }
            let has_own = text.contains(&format!("{project}-"));
            assert!(
                is_of_other || path.ends_with("quarantine") || has_own || text.contains(&format!("{project}_field")),
                "{project} {path}: {body:#}"
            );
        }
        let (_, body) = collector.read(token, "/api/v1/requests/shared-request-1").await;
        assert_eq!(body["data"]["events"].as_array().unwrap().len(), 1, "{body:#}");
        assert_eq!(body["data"]["events"][0]["attributes"]["project"], other, "{body:#}");
        assert_eq!(body["data"]["impact"]["events"], 1, "{body:#}");
        assert_eq!(body["data"]["related"].as_array().unwrap().len(), 4, "{body:#}");
        let request =
            collector.with_token(token, Method::POST, "/api/v1/requests/lookup").json(&json!({"text": ticket}));
        let body = Answer::to(request).await.envelope("ticket");
        let found: Vec<&str> = body["data"]["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|result| result["state"] == "found")
            .map(|result| result["request_id"].as_str().unwrap())
            .collect();
        assert_eq!(found, [format!("{project}-request-1").as_str(), "shared-request-1"]);
        // Following the pages leads to the same six.
        let (mut seen, mut path) = (0, "/api/v1/events?limit=2".to_owned());
        loop {
            let (_, body) = collector.read(token, &path).await;
            seen += body["data"]["events"].as_array().unwrap().len();
            let Some(cursor) = body["data"]["next_cursor"].as_str() else { break };
            path = format!("/api/v1/events?limit=2&cursor={cursor}");
        }
        assert_eq!(seen, 6);
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn product_sees_what_fails_and_not_for_whom() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let roles = [Role::Product, Role::Support, Role::Sre];
    let [product, support, sre] = roles.map(|role| token(dir.path(), "default", &[role], None, None));
    let both = token(dir.path(), "default", &[Role::Product, Role::Sre], None, None);
    let mut shipped = event_of("alpha", "x", 1, 422);
    shipped["exception"] = json!({"type": "E", "message": "alpha-user failed", "stacktrace": "alpha-user"});
    assert_eq!(collector.ship(&[shipped]).await.0, 202);
    collector.delivered().await;
    let personal = ["shared-account", "alpha-user", "192.0.2.7", "alpha-agent", "alpha-host", "alpha-person", "\"de\""];
    for (token, sees_people) in [(&product, false), (&support, true), (&sre, true), (&both, true)] {
        let (status, body) = collector.read(token, "/api/v1/events").await;
        assert_eq!(status, 200);
        let event = &body["data"]["events"][0];
        assert_eq!(event["errors"][0]["field"], "alpha_field", "{body:#}");
        for value in personal {
            assert_eq!(event.to_string().contains(value), sees_people, "{value}: {event:#}");
        }
        for filter in ["account_id=shared-account", "user_id=alpha-user"] {
            let (status, _) = collector.read(token, &format!("/api/v1/events?{filter}")).await;
            assert_eq!(status, if sees_people { 200 } else { 403 }, "{filter}");
        }
    }
    for query in ["account_id=shared-account", "user_id=alpha-user"] {
        let path = format!("/api/v1/validation/failures?{query}");
        assert_eq!(collector.read(&product, &path).await.0, 403, "{query}");
        assert_eq!(collector.read(&both, &path).await.0, 200, "{query}");
    }
    let (_, body) = collector.read(&product, "/api/v1/validation/failures").await;
    assert_eq!(
        (&body["data"]["rows"][0]["accounts"], &body["data"]["rows"][0]["count"]),
        (&json!(1), &json!(1)),
        "{body}"
    );
    collector.stop().await.unwrap();
}

/// Odd ranges and limits are answered or refused; none is a defect of ours.
#[tokio::test(flavor = "multi_thread")]
async fn odd_questions_are_answered_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event("req_1", 422)]).await;
    collector.delivered().await;
    let ranges = [
        "from=-1000000w",
        "from=-9223372036854775s&to=9999-12-31T23:59:59Z",
        "from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
        "from=1970-01-01T00:00:00Z&to=1970-01-01T00:00:01Z",
        "from=2290-01-01T00:00:00Z&to=2299-12-31T23:59:59Z",
        "from=-1h&to=-2h",
    ];
    let questions = [
        "/api/v1/events?",
        "/api/v1/rates?",
        "/api/v1/rates?step=1s&",
        "/api/v1/rate-limits?",
        "/api/v1/rates?step=9223372036854775s&",
        "/api/v1/rates?step=300000w&group_by=status&",
        "/api/v1/validation/failures?compare=previous&",
    ];
    let mut answered = 0;
    for range in ranges {
        for question in questions {
            let path = format!("{question}{range}");
            let (status, body) = collector.read(&collector.token, &path).await;
            assert!(status == 200 || status == 400, "{path}: {status} {body}");
            answered += u32::from(status == 200);
        }
    }
    assert!(answered > 12, "{answered}");
    for path in [
        "/api/v1/events?cursor=x",
        "/api/v1/events?status=200",
        "/api/v1/events?fingerprint=xyz",
        "/api/v1/events?limit=501",
        "/api/v1/events?colour=red",
        "/api/v1/rates?group_by=account_id",
        "/api/v1/rate-limits?limit=1001",
        "/api/v1/rate-limits?status=429",
        "/api/v1/validation/failures?group_by=nothing",
        "/api/v1/validation/failures?compare=next",
        "/api/v1/requests/%FF",
        "/api/v1/requests/%20",
    ] {
        let (status, body) = collector.read(&collector.token, path).await;
        assert_eq!((status.as_u16(), &body["error"]), (400, &json!("Validation failed")), "{path}: {body}");
        assert!(!body["errors"].as_object().unwrap().is_empty(), "{path}: {body}");
    }
    let text = "' OR 1=1 -- \u{0} {p0:String} \\";
    for filter in ["service", "q", "field", "route", "release", "account_id"] {
        let request = collector.request(Method::GET, "/api/v1/events").query(&[(filter, text)]);
        let body = Answer::to(request).await.envelope(filter);
        assert_eq!(body["data"]["events"], json!([]), "{filter}: {body}");
    }
    collector.stop().await.unwrap();
}
