//! Request totals in a real ClickHouse: what repeats replaces, whatever the order and however often.

use errata::{
    event::RequestTotal,
    store::{
        query::{NO_STEPS_S, RateKey, RequestPoint, ratio},
        totals::Hours,
    },
};

use super::*;

fn total(minute: i64, reporter: &str, status: u16, count: u64, received_us: i64) -> RequestTotal {
    RequestTotal {
        project: "shop".to_owned(),
        minute: u32::try_from((noon() + minute * MINUTE) / 1000).unwrap(),
        service: "api".to_owned(),
        environment: "production".to_owned(),
        release: "1".to_owned(),
        route: "/api/v1/items/{id}/".to_owned(),
        method: "GET".to_owned(),
        status,
        reporter: reporter.to_owned(),
        count,
        received_us: noon() * 1000 + received_us,
    }
}

impl Started {
    /// Inserts as delivery does it.
    async fn report(&self, totals: &[RequestTotal]) {
        self.store.insert_totals(totals).await.unwrap();
        self.store.count_hours(&Hours::of(totals)).await.unwrap();
    }

    /// Requests by hour and status: as the minutes have it, which the hours must have too.
    async fn requests(&self) -> Vec<(u32, u16, u64)> {
        let read = async |sql: String| -> Vec<(u32, u16, u64)> {
            let sql = sql.replace("{}", self.clients.database.as_str());
            self.clients.read.query(&sql).fetch_all().await.unwrap()
        };
        let of = |time: &str, table: &str| {
            format!(
                "SELECT toUnixTimestamp(toStartOfHour({time})) AS at, status, sum(count) FROM {{}}.{table} FINAL \
                 WHERE project = 'shop' GROUP BY at, status ORDER BY at, status"
            )
        };
        let minutes = read(of("minute", "request_totals")).await;
        assert_eq!(read(of("hour", "request_totals_hours")).await, minutes);
        minutes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_repeats_the_latest_receipt_counts_in_minutes_and_hours() {
    let started = started().await;
    let hour = u32::try_from(noon() / 1000).unwrap();
    started.report(&[total(0, "a", 200, 10, 1), total(0, "b", 200, 5, 2), total(0, "a", 500, 1, 3)]).await;
    assert_eq!(started.requests().await, [(hour, 200, 15), (hour, 500, 1)]);
    // A correction, another minute of the hour, another hour, another week.
    let week = 7 * 24 * 60;
    let corrected =
        [total(0, "a", 200, 12, 4), total(59, "a", 200, 1, 5), total(60, "a", 200, 2, 6), total(week, "a", 200, 3, 7)];
    started.report(&corrected).await;
    let expected = [(hour, 200, 18), (hour, 500, 1), (hour + 3600, 200, 2), (hour + 7 * 86_400, 200, 3)];
    assert_eq!(started.requests().await, expected);
    // What was received before it, delivered late and twice, changes nothing; nor does a merge.
    started.report(&[total(0, "a", 200, 10, 1)]).await;
    started.report(&corrected).await;
    assert_eq!(started.requests().await, expected);
    for table in ["request_totals", "request_totals_hours"] {
        started.run(&format!("OPTIMIZE TABLE {{}}.{table} FINAL")).await;
    }
    assert_eq!(started.requests().await, expected);
    // Within one insert too, and down to nothing.
    started.report(&[total(0, "b", 200, 7, 8), total(0, "b", 200, 0, 9)]).await;
    assert_eq!(started.requests().await[0], (hour, 200, 13));
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_keep_every_column_and_expire_with_the_events() {
    let started = started().await;
    started.store.probe_totals().await.unwrap();
    started.report(&[total(3, "api-7", 204, 4, 123_456)]).await;
    let sql = "SELECT concat_ws('|', project, toString(minute), service, environment, release, route, method, toString(status), \
               reporter, toString(count), toString(received_at)) FROM {}.request_totals"
        .replace("{}", started.clients.database.as_str());
    let day = chrono::DateTime::from_timestamp_millis(noon()).unwrap().format("%Y-%m-%d");
    let expected =
        format!("shop|{day} 12:03:00|api|production|1|/api/v1/items/{{id}}/|GET|204|api-7|4|{day} 12:00:00.123456");
    assert_eq!(started.clients.read.query(&sql).fetch_one::<String>().await.unwrap(), expected);
    started.store.apply_retention(30).await.unwrap();
    let ttls = "SELECT extract(engine_full, 'TTL (.*) SETTINGS') FROM system.tables WHERE name LIKE 'request_totals%' ORDER BY name";
    let ttls: Vec<String> = started.clients.admin.query(ttls).fetch_all().await.unwrap();
    assert_eq!(ttls, ["toMonday(minute) + toIntervalDay(37)", "toMonday(hour) + toIntervalDay(37)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_have_the_share_of_requests_that_their_routes_add_up_to() {
    let started = started().await;
    let of = |minute: i64, service: &str, route: &str, status: u16, count: u64| RequestTotal {
        service: service.to_owned(),
        route: route.to_owned(),
        ..total(minute, "a", status, count, minute)
    };
    let totals = [
        of(0, "api", "/a/", 200, 70),
        of(0, "api", "/b/", 200, 20),
        of(1, "api", "/b/", 422, 5),
        of(61, "api", "/a/", 500, 5),
        of(2, "jobs", "/a/", 200, 40),
        // Outside the range.
        of(180, "jobs", "/a/", 200, 999),
    ];
    started.report(&totals).await;
    let failed = |number: u128, service: &str, route: &str| Event {
        timestamp_ms: noon() + MINUTE,
        service: service.into(),
        route: route.into(),
        ..event(number)
    };
    deliver(&started.store, &[failed(1, "api", "/a/"), failed(2, "api", "/b/"), failed(3, "jobs", "/a/")]).await;
    let store = &started.store;
    let filter = Filter { from_ms: noon(), to_ms: noon() + 120 * MINUTE, ..Filter::default() };
    let (by_both, by_service) = (&[RateKey::Service, RateKey::Route][..], &[RateKey::Service][..]);
    for step_s in [60, 3600, NO_STEPS_S] {
        let (_, errors) = store.rates_and_first("shop", &filter, by_both, step_s).await.unwrap();
        let of_routes = store.requests_served("shop", &filter, by_both, step_s).await.unwrap();
        let added_up = ratio::join(errors, &RequestPoint::by_first(&of_routes), by_service, &filter, step_s);
        let errors = store.rates("shop", &filter, by_service, step_s).await.unwrap();
        let requests = store.requests_served("shop", &filter, by_service, step_s).await.unwrap();
        let asked = ratio::join(errors, &requests, by_service, &filter, step_s);
        assert_eq!(added_up, asked, "{step_s}");
        let told: Vec<_> = asked.iter().map(|one| (one.labels["service"].as_str(), one.errors, one.requests)).collect();
        assert_eq!(told, [("api", 2, Some(100)), ("jobs", 1, Some(40))]);
    }
}
