//! What an evaluator remembers while others write to the state database.

use std::sync::atomic::AtomicI64;

use super::*;
use crate::store::client::{Access, Database};

/// An alert that fires, as it is stored, with a request as its evidence.
fn row(active_ms: i64) -> AlertRow {
    AlertRow { evidence: Some(r#"{"samples":[{"request_id":"req_1"}]}"#.into()), ..AlertRow::firing(active_ms) }
}

#[test]
fn erased_evidence_is_forgotten_before_anybody_is_told_of_it() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    state.apply_alerts(&AlertChanges { put: vec![row(5)], ..AlertChanges::default() }).unwrap();
    let database = Database::parse("errata").unwrap();
    let parts = Parts {
        store: Store::new(Access::external("http://127.0.0.1:1", database).unwrap().clients().unwrap()),
        state: state.clone(),
        rules: Arc::default(),
        metrics: Arc::new(Metrics::new().unwrap()),
        clock: Clock::manual(Arc::new(AtomicI64::new(10))),
        status: Status::default(),
        base_url: String::new(),
    };
    let mut evaluator = Evaluator::open(parts).unwrap();
    let evidence = |evaluator: &Evaluator| evaluator.alerts.values().next().unwrap().evidence.clone();
    evaluator.telling().unwrap();
    assert_eq!(evidence(&evaluator), row(5).evidence);
    state.forget_erased("p", "req_1", |_| [0; 16]).unwrap();
    evaluator.telling().unwrap();
    assert_eq!(evidence(&evaluator), None);
}
