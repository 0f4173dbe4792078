//! Two things that go wrong one after the other, each of which alone is harmless.

use super::*;

/// Promise: what is known to be stored of a plan that could not be followed is known after a further crash, too.
#[tokio::test(start_paused = true)]
async fn a_log_that_changed_and_a_crash_under_the_plan_of_what_was_left_double_nothing() {
    for crashes in 1..3 {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::failing(&[Fault::Hang { stored: true }]);
        let bench = open(dir.path(), &fake);
        bench.ship(0..4).await;
        bench.crash().await;
        std::fs::remove_dir_all(dir.path().join("spool")).unwrap();
        for round in 0..crashes {
            let bench = open(dir.path(), &fake);
            if round == 0 {
                bench.ship(50..54).await;
                bench.ship(0..4).await;
            }
            fake.0.lock().unwrap().faults.push_back(Fault::Hang { stored: false });
            bench.crash().await;
        }
        let (writer, books, _) = open(dir.path(), &fake).drain().await;
        assert_eq!(fake.keys(), (0..4).chain(50..54).collect::<Vec<_>>(), "{crashes} crashes");
        assert_eq!(books.imbalance(&writer).0, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn damage_to_a_plan_that_was_stored_and_a_crash_afterwards_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::failing(&[Fault::Hang { stored: true }]);
    let bench = open(dir.path(), &fake);
    let segment = dir.path().join("spool/00000000000000000000.seg");
    bench.ship(0..3).await;
    let end = std::fs::metadata(&segment).unwrap().len() as usize;
    bench.ship(3..8).await;
    bench.crash().await;
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[end - 1] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let bench = open(dir.path(), &fake);
    bench.ship(8..10).await;
    fake.0.lock().unwrap().faults.push_back(Fault::Hang { stored: false });
    bench.crash().await;
    let (writer, books, _) = open(dir.path(), &fake).drain().await;
    assert_eq!(fake.keys(), (0..10).collect::<Vec<_>>(), "the damaged ones were stored before");
    assert_eq!(books.imbalance(&writer).0, 0);
}

/// Promise: rows that are refused are halved and sent under other ids only when none of them is stored.
#[tokio::test(start_paused = true)]
async fn a_half_that_is_stored_and_a_rest_that_is_refused_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::failing(&[Fault::Half, Fault::Before(RetryClass::Poison)]);
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (writer, books, quarantine) = bench.drain().await;
    assert_eq!(fake.keys(), (0..8).collect::<Vec<_>>());
    assert_eq!((books.imbalance(&writer).0, quarantine.list().unwrap().len()), (0, 0));
}

/// Promise: after an insert was answered nothing is sent again before it is known what is there, also if for a while nobody
/// can be asked.
#[tokio::test(start_paused = true)]
async fn an_answer_and_a_question_that_nobody_takes_double_nothing() {
    for class in [RetryClass::Resend, RetryClass::Ambiguous, RetryClass::Overloaded] {
        for (batch, group) in [(Some(class), None), (None, Some(class))] {
            let dir = tempfile::tempdir().unwrap();
            let fake = Fake::default();
            {
                let mut inner = fake.0.lock().unwrap();
                inner.batch_questions = [batch, batch].into();
                inner.group_questions = [group, None, group].into();
            }
            let bench = open(dir.path(), &fake);
            bench.ship(0..4).await;
            bench.drain().await;
            assert_eq!(fake.keys(), (0..4).collect::<Vec<_>>(), "{class:?}");
        }
    }
}
