//! A migrated database on an engine of its own.

use errata::store::{Store, engine, migrate};

pub struct Engine {
    pub store: Store,
    pub client: clickhouse::Client,
    _engine: engine::Engine,
    _dir: tempfile::TempDir,
}

pub async fn engine() -> Engine {
    let dir = tempfile::tempdir().unwrap();
    let engine = crate::engine::start(dir.path()).await.unwrap();
    let clients = engine.access().first_reachable().await.unwrap();
    migrate::apply(&clients.admin, &clients.database, migrate::MIGRATIONS).await.unwrap();
    let client = clients.admin.clone().with_database(clients.database.as_str());
    Engine { store: Store::new(clients), client, _engine: engine, _dir: dir }
}
