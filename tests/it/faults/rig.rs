//! What most tests begin with: a ClickHouse of their own, a proxy before it, a collector's setup, and a ledger.

use std::sync::Arc;

use tempfile::TempDir;

use super::{
    checker::{Verdict, check},
    collector::{Collector, Setup},
    engine::Engine,
    load::{Ledger, Load},
    proxy::Proxy,
};

pub struct Rig {
    pub engine: Engine,
    pub proxy: Proxy,
    pub setup: Setup,
    pub ledger: Arc<Ledger>,
    pub dir: TempDir,
}

impl Rig {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start(dir.path()).await;
        let proxy = Proxy::start(engine.port()).await;
        let setup = Setup::new(dir.path(), &Engine::url_through(proxy.port()));
        Self { engine, proxy, setup, ledger: Arc::default(), dir }
    }

    /// A collector whose tables are there, because a first event went through.
    pub async fn collector(&self) -> Collector {
        let collector = self.setup.start().await;
        self.ship(1).await;
        collector.delivered().await;
        collector
    }

    pub fn load(&self) -> Load {
        Load::on(&self.setup)
    }

    /// Ships one request that must be acknowledged.
    pub async fn ship(&self, events: usize) {
        let (status, body) = self.load().ship(&self.ledger, events).await;
        assert_eq!(status, 202, "{body}");
    }

    /// Compares and reports; the promise must be kept, and every rollup must say what the events say.
    pub async fn check(&self, collector: &Collector, row: &str, done: &str) -> Verdict {
        let verdict = check(collector, &self.ledger).await;
        verdict.report(row, done);
        verdict.assert_kept();
        crate::rollups::agree(&self.engine.client().with_database("errata")).await;
        verdict
    }
}
