//! Migrations against a real engine.

use errata::store::migrate::{self, MigrateError, Migration, Ttl};

use crate::engine::start;

const FIRST: Migration = Migration {
    version: 1,
    name: "0001_first",
    sql: "-- a table; and its view;
CREATE TABLE IF NOT EXISTS {database}.t (a UInt32, at DateTime64(3, 'UTC'), note String DEFAULT '?')
ENGINE = MergeTree ORDER BY a
TTL toDateTime(at) + INTERVAL 90 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.v ENGINE = SummingMergeTree ORDER BY a
AS SELECT a, count() AS n FROM {database}.t GROUP BY a;
",
};
const SECOND: Migration =
    Migration { version: 2, name: "0002_second", sql: "ALTER TABLE {database}.t ADD COLUMN IF NOT EXISTS b String;" };

#[tokio::test(flavor = "multi_thread")]
async fn pending_files_are_planned_applied_recorded_and_not_applied_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let clients = engine.access().clients().unwrap();
    let (admin, database) = (&clients.admin, &clients.database);

    let plan = migrate::plan(admin, database, &[FIRST]).await.unwrap();
    assert_eq!(plan[0].statements.len(), 2);
    assert!(plan[0].statements[0].starts_with("CREATE TABLE IF NOT EXISTS errata_it.t"));
    assert_eq!(migrate::status(admin, database, &[FIRST]).await.unwrap()[0].applied, None);

    assert_eq!(migrate::apply(admin, database, &[FIRST]).await.unwrap(), [FIRST]);
    assert_eq!(migrate::apply(admin, database, &[FIRST, SECOND]).await.unwrap(), [SECOND]);
    assert_eq!(migrate::apply(admin, database, &[FIRST, SECOND]).await.unwrap(), []);

    let status = migrate::status(admin, database, &[FIRST, SECOND]).await.unwrap();
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    for state in status {
        let applied = state.applied.expect("applied");
        assert!((now_ms - 60_000..=now_ms + 1000).contains(&applied.at_ms), "{applied:?}");
        assert_eq!(applied.errata, env!("CARGO_PKG_VERSION"));
    }
    clients.write.query("INSERT INTO t (a, b) VALUES (1, 'x')").execute().await.unwrap();
    assert_eq!(clients.read.query("SELECT n FROM v").fetch_one::<u64>().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_collectors_may_migrate_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let list = [FIRST, SECOND];
    let mut both = Vec::new();
    for _ in 0..2 {
        // Connections of its own, as another process has.
        let clients = engine.access().clients().unwrap();
        both.push(tokio::spawn(async move { migrate::apply(&clients.admin, &clients.database, &list).await }));
    }
    for one in both {
        one.await.unwrap().unwrap();
    }
    let clients = engine.access().clients().unwrap();
    let status = migrate::status(&clients.admin, &clients.database, &list).await.unwrap();
    assert!(status.iter().all(|state| state.applied.is_some()));
    assert_eq!(migrate::apply(&clients.admin, &clients.database, &list).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_a_newer_database_and_a_bad_statement_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let clients = engine.access().clients().unwrap();
    let (admin, database) = (&clients.admin, &clients.database);

    let bad = Migration { sql: "SELECT 1;\nCREATE NONSENSE;", ..SECOND };
    let message = migrate::apply(admin, database, &[FIRST, bad]).await.unwrap_err().to_string();
    assert!(message.contains("0002_second.sql, statement 2 (CREATE NONSENSE"), "{message}");
    // The first stays, and the mended second is the next.
    assert_eq!(migrate::apply(admin, database, &[FIRST, SECOND]).await.unwrap(), [SECOND]);

    let changed = Migration { sql: "SELECT 1;", ..FIRST };
    assert!(matches!(migrate::apply(admin, database, &[changed, SECOND]).await, Err(MigrateError::Changed { .. })));
    assert!(matches!(migrate::apply(admin, database, &[FIRST]).await, Err(MigrateError::Newer { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retention_is_altered_only_where_it_differs() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let clients = engine.access().clients().unwrap();
    let (admin, database) = (&clients.admin, &clients.database);
    migrate::apply(admin, database, &[FIRST]).await.unwrap();

    let list = [Ttl { table: "t", time: "toDateTime(at)", extra_days: 0 }];
    for (days, altered) in [(90, vec![]), (30, vec!["t"]), (30, vec![])] {
        assert_eq!(migrate::apply_retention(admin, database, &list, days).await.unwrap(), altered, "{days}");
    }
    let longer = [Ttl { extra_days: 7, ..list[0] }];
    assert_eq!(migrate::apply_retention(admin, database, &longer, 30).await.unwrap(), ["t"]);
    assert_eq!(migrate::apply_retention(admin, database, &list, 37).await.unwrap(), Vec::<&str>::new());
}
