//! 429s as episodes: the hammering account and the login burst, as the README tells of them.

use serde_json::{Value, json};

use super::{Readme, SPAN, capture, exchanges, ship};
use crate::collector::Collector;

async fn limits(collector: &Collector, filter: &str) -> Value {
    let (status, body) = collector.get(&format!("/api/v1/rate-limits?{SPAN}{filter}")).await;
    assert_eq!(status, 200, "{body}");
    body["data"].clone()
}

fn sum(list: &Value, name: &str) -> u64 {
    list.as_array().unwrap().iter().map(|item| item[name].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hammering_account_and_the_login_burst_are_the_episodes_of_the_readme() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (readme, capture) = (Readme::read(), capture());
    ship(&collector, &capture).await;
    collector.delivered().await;
    let all = limits(&collector, "&limit=1000").await;
    let limited: Vec<Value> = exchanges(&capture).into_iter().filter(|it| it["status"] == 429).collect();
    let [in_all] = readme.numbers(r"All 429: (\d+)\.");
    assert_eq!(limited.len() as u64, in_all);
    for list in ["episodes", "accounts", "routes"] {
        assert_eq!(sum(&all[list], "events"), in_all, "every 429 is in one of them: {list} {:#}", all[list]);
    }
    hammering(&all, &readme, &limited);
    login_burst(&collector, &all, &readme).await;

    let filtered = limits(&collector, "&account_id=17&limit=1").await;
    assert_eq!(filtered["episodes"][0], all["episodes"][0]);
    assert_eq!(limits(&collector, "&environment=staging&service=igny8-media").await["episodes"], json!([]));
    assert_eq!(limits(&collector, "&limit=1").await["episodes_in_all"], all["episodes_in_all"]);
    collector.stop().await.unwrap();
}

fn hammering(all: &Value, readme: &Readme, limited: &[Value]) {
    let [account, date, first, last] = readme.says(
        r"\*\*Hammering\*\*: account (\d+) [^,]*, [^,]*, (\d{4}-\d\d-\d\d)[\s\S]*?first 429 ([^,]+), last (\S+Z);",
    );
    let [limit, answered] =
        readme.numbers(r"\*\*Hammering\*\*[\s\S]*?limit (\d+) a minute[\s\S]*?, (\d+) answered 429");
    let episode = &all["episodes"][0];
    assert_eq!((&episode["account_id"], &episode["client_ip"]), (&json!(account), &Value::Null), "{episode:#}");
    assert_eq!(episode["route"], "/api/v1/planner/clusters/auto_cluster/");
    assert_eq!((&episode["start"], &episode["end"]), (&json!(first), &json!(last)), "{episode:#}");
    assert!(first.starts_with(&date));
    assert_eq!((&episode["events"], &episode["limit"]), (&json!(answered), &json!(limit)));
    assert_eq!(episode["remaining"], 0);
    // Counted from the lines: those that came before the latest reset announced until then.
    let (mut announced, mut early) = (0, 0);
    let number: u64 = account.parse().unwrap();
    for it in limited.iter().filter(|it| it["account_id"] == number) {
        let at = chrono::DateTime::parse_from_rfc3339(it["timestamp"].as_str().unwrap()).unwrap().timestamp_millis();
        let reset: i64 = it["response_headers"]["X-Throttle-Reset"].as_str().unwrap().parse().unwrap();
        early += u64::from(at < announced * 1000);
        announced = announced.max(reset);
    }
    assert!(early > answered * 9 / 10, "{early}");
    assert_eq!(all["accounts"][0]["retries_before_reset"], early, "{:#}", all["accounts"][0]);
    assert_eq!((&all["accounts"][0]["account_id"], &all["accounts"][0]["routes"]), (&json!(account), &json!(1)));
    assert_eq!(all["routes"][0]["route"], episode["route"]);
}

async fn login_burst(collector: &Collector, all: &Value, readme: &Readme) {
    let [address, limited] = readme.says(r"\*\*Login burst\*\*[^:]*: client_ip (\S+), [\s\S]*?: (\d+) x 429");
    let episodes = all["episodes"].as_array().unwrap();
    let burst = episodes.iter().find(|episode| episode["client_ip"] == address.as_str()).unwrap();
    let (account, events) = (&burst["account_id"], burst["events"].to_string());
    assert_eq!(
        (account, &events, &burst["route"]),
        (&Value::Null, &limited, &json!("/api/v1/auth/login/")),
        "{burst:#}"
    );
    let (start, end) = (burst["start"].as_str().unwrap(), burst["end"].as_str().unwrap());
    assert!(start >= "2026-11-18T02:14:00.000Z" && end <= "2026-11-18T02:14:51.700Z", "{burst:#}");
    // A lookup of one of them shows the same, though nobody was logged in.
    let filter = "status=429&route=/api/v1/auth/login/&from=2026-11-18T02:14:00Z&to=2026-11-18T02:15:00Z";
    let (_, found) = collector.get(&format!("/api/v1/events?{filter}")).await;
    let id = found["data"]["events"][3]["request_id"].as_str().unwrap();
    let quota = &collector.found(id).await["rate_limit"];
    for name in ["start", "end", "events", "limit", "retries_before_reset"] {
        assert_eq!(quota["episode"][name], burst[name], "{name}: {quota:#}");
    }
}
