//! Request totals in a real ClickHouse: what repeats replaces, whatever the order and however often.

use errata::{event::RequestTotal, store::totals::Hours};

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
