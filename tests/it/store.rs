//! The store against a real ClickHouse: what is written is read back, once, and only by its project.

use errata::{
    event::{Event, EventKey, FieldError, Marks, RequestId},
    store::{
        Store,
        client::Clients,
        engine::Engine,
        query::Filter,
        rollup::{Group, RollupTable, Rollups},
        rows::{self, EncodedBatch},
    },
};
use uuid::Uuid;

mod alerts;
mod insert;
mod issues;
mod lookup;
mod overview;
mod rollup;
mod search;
mod totals;

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// A migrated store on an engine of its own.
struct Started {
    store: Store,
    clients: Clients,
    _engine: Engine,
    _dir: tempfile::TempDir,
}

impl Started {
    /// What an operator does by hand; `{}` is our database.
    async fn run(&self, sql: &str) {
        let sql = sql.replace("{}", self.clients.database.as_str());
        self.clients.admin.query_raw(&sql).execute().await.unwrap();
    }
}

async fn started() -> Started {
    let dir = tempfile::tempdir().unwrap();
    let engine = crate::engine::start(dir.path()).await.unwrap();
    let clients = engine.access().clients().unwrap();
    let store = Store::new(clients.clone());
    store.migrate().await.unwrap();
    Started { store, clients, _engine: engine, _dir: dir }
}

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

/// Noon, UTC, of the Wednesday before last: whole weeks apart from now, so that a batch never spans two weeks.
fn noon() -> i64 {
    let today = chrono::Utc::now().timestamp_millis() / DAY * DAY;
    i64::from(rows::week_of(today)) * DAY - 7 * DAY + 2 * DAY + DAY / 2
}

/// A plain event; `number` makes its key and its request id.
fn event(number: u128) -> Event {
    Event {
        project: "shop".to_owned(),
        key: EventKey(number),
        event_id: String::new(),
        request_id: id(&format!("req_0000000000{number}")),
        timestamp_ms: noon(),
        received_at_ms: noon() + 500,
        status: 422,
        service: "api".to_owned(),
        environment: "production".to_owned(),
        release: "1".to_owned(),
        host: String::new(),
        method: "POST".to_owned(),
        path: "/api/v1/items/7/".to_owned(),
        route: "/api/v1/items/{id}/".to_owned(),
        error: "Validation failed".to_owned(),
        error_template: "Validation failed".to_owned(),
        code: String::new(),
        errors: Vec::new(),
        response: String::new(),
        account_id: String::new(),
        user_id: String::new(),
        duration_ms: None,
        rate_limit: None,
        client_ip: String::new(),
        user_agent: String::new(),
        trace_id: String::new(),
        span_id: String::new(),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        exception: None,
        attributes: Vec::new(),
        fingerprint: 1,
        marks: Marks(0),
    }
}

fn failure(field: &str, message: &str, rule: &str) -> FieldError {
    let [path, message, rule] = [field.replace("[]", "[3]"), message.to_owned(), rule.to_owned()];
    FieldError { field: field.to_owned(), path, message, rule }
}

fn whole_time() -> Filter {
    Filter { from_ms: noon() - DAY, to_ms: noon() + DAY, ..Filter::default() }
}

fn encode(events: &[Event]) -> EncodedBatch {
    rows::encode(Uuid::now_v7(), events).unwrap()
}

async fn insert(store: &Store, events: &[Event]) -> EncodedBatch {
    let batch = encode(events);
    store.insert(&batch, 1).await.unwrap();
    batch
}

/// Adds what was stored under some batches, as delivery does it.
async fn roll_up(store: &Store, batches: &[(EncodedBatch, Vec<Event>)]) -> Group {
    roll_up_in(store, batches, &RollupTable::ALL).await
}

async fn roll_up_in(store: &Store, batches: &[(EncodedBatch, Vec<Event>)], tables: &[RollupTable]) -> Group {
    let week = rows::week_of(batches[0].0.received_ms.0);
    let (mut group, mut rollups) = (Group::new(week), Rollups::default());
    for (batch, events) in batches {
        group.add(batch.batch_id, batch.received_ms);
        for event in events {
            rollups.add(&event.into());
        }
        // To encode what there is so far takes nothing from what comes after.
        errata::store::rollup::encode(&group, RollupTable::FailureDays, &rollups).unwrap();
    }
    for table in tables {
        assert!(!store.rolled_up(&group, *table).await.unwrap());
        store.roll_up(&group, *table, &rollups, 1).await.unwrap();
        assert!(store.rolled_up(&group, *table).await.unwrap());
    }
    group
}

/// Inserts events and adds them to the rollups.
async fn deliver(store: &Store, events: &[Event]) {
    let batch = insert(store, events).await;
    roll_up(store, &[(batch, events.to_vec())]).await;
}
