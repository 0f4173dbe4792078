//! Is Errata itself well: a line for each thing that can be amiss.

use crate::{
    console::view::{number, time::duration},
    http::operate::Intake,
};

/// Events that took longer to be seen are worth a word, seconds.
const SLOW_S: f64 = 10.0;

/// One line.
pub(super) struct Check {
    pub(super) class: &'static str,
    pub(super) what: &'static str,
    pub(super) state: String,
}

pub(super) fn checks(intake: &Intake) -> Vec<Check> {
    let check = |is_well: bool, what, state: String| Check { class: if is_well { "" } else { "bad" }, what, state };
    let taken = intake.refusal.clone().map_or_else(
        || check(true, "Intake", "events are taken".to_owned()),
        |refusal| check(false, "Intake", format!("events are refused: {refusal}")),
    );
    let store = intake.store_problem.clone().map_or_else(
        || check(true, "ClickHouse", "answers".to_owned()),
        |problem| check(false, "ClickHouse", format!("does not answer; events queue in the spool. {problem}")),
    );
    let lag_s = intake.lag_s.max(intake.oldest_wait_ms as f64 / 1000.0);
    let lag = check(
        lag_s < SLOW_S,
        "Lag",
        if lag_s < 1.0 {
            "events show up within a second".to_owned()
        } else {
            format!("events show up after {}", duration((lag_s * 1000.0) as i64))
        },
    );
    let spool = check(
        lag_s < SLOW_S,
        "Spool",
        match intake.queued {
            0 => "nothing waits".to_owned(),
            queued => format!("{} events wait, {} MiB", number(queued), number(intake.bytes >> 20)),
        },
    );
    let books = check(
        intake.imbalance == 0,
        "Books",
        match intake.imbalance {
            0 => "balance: every accepted event is stored, queued or set aside".to_owned(),
            off => format!("are off by {off} events; see docs/reliability.md"),
        },
    );
    vec![taken, store, lag, spool, books]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_amiss_is_marked_and_said() {
        let well = Intake {
            refusal: None,
            store_problem: None,
            queued: 0,
            bytes: 0,
            oldest_wait_ms: 0,
            lag_s: 0.2,
            imbalance: 0,
        };
        assert!(checks(&well).iter().all(|check| check.class.is_empty()));
        let ill = Intake {
            refusal: Some("full".into()),
            store_problem: Some("refused".into()),
            queued: 12_000,
            bytes: 3 << 20,
            oldest_wait_ms: 90_000,
            lag_s: 0.2,
            imbalance: -3,
        };
        let told: Vec<_> = checks(&ill).into_iter().map(|check| (check.class, check.state)).collect();
        assert!(told.iter().all(|(class, _)| *class == "bad"), "{told:?}");
        assert_eq!(told[2].1, "events show up after 1 min 30 s");
        assert_eq!(told[3].1, "12\u{202f}000 events wait, 3 MiB");
        assert!(told[4].1.contains("-3"), "{told:?}");
    }
}
