//! What an evaluator remembers while others write to the state database.

use std::sync::atomic::AtomicI64;

use super::*;
use crate::store::client::{Access, Database};

/// An alert that fires, as it is stored, with a request as its evidence.
fn row(active_ms: i64) -> AlertRow {
    AlertRow {
        project: "p".into(),
        rule: "r".into(),
        fingerprint: "f".into(),
        labels: "{}".into(),
        severity: "page".into(),
        phase: "firing".into(),
        active_ms,
        fired_ms: Some(active_ms),
        resolved_ms: None,
        held_ms: active_ms,
        value: 1.5,
        threshold: 1.0,
        summary: "s".into(),
        window: (0, active_ms),
        evidence: Some(r#"{"samples":[{"request_id":"req_1"}]}"#.into()),
        frozen: String::new(),
        told_ms: None,
        acknowledged: None,
    }
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
