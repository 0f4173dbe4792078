//! Waiting for a collector that is away, busy or asks to come back later.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// First pause; it doubles.
const FIRST: Duration = Duration::from_millis(200);

/// Longest pause of our own choice.
const LONGEST: Duration = Duration::from_secs(10);

type Sleep = dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// How long to go on after failures in a row.
#[derive(Clone)]
pub struct Patience {
    pub limit: Duration,
    sleep: Arc<Sleep>,
}

/// One row of failures.
pub struct Row<'a> {
    patience: &'a Patience,
    since: Option<Instant>,
    /// Sum of the pauses; counted apart from the clock so that tests need not wait for it.
    paused: Duration,
    next: Duration,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, sleep: Arc::new(|pause| Box::pin(tokio::time::sleep(pause))) }
    }

    /// Waits for nothing and writes every pause down.
    #[cfg(test)]
    pub fn recorded(limit: Duration) -> (Self, Arc<std::sync::Mutex<Vec<Duration>>>) {
        let pauses = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&pauses);
        let sleep = move |pause| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            log.lock().unwrap().push(pause);
            Box::pin(tokio::task::yield_now())
        };
        (Self { limit, sleep: Arc::new(sleep) }, pauses)
    }

    pub fn row(&self) -> Row<'_> {
        Row { patience: self, since: None, paused: Duration::ZERO, next: FIRST }
    }
}

impl Row<'_> {
    /// Pauses before the next attempt, as long as the other side asked or with back-off. `false` when patience is at its
    /// end, or would be before the time the other side asked for.
    pub async fn pause(&mut self, asked: Option<Duration>) -> bool {
        let elapsed = self.since.get_or_insert_with(Instant::now).elapsed().max(self.paused);
        let left = self.patience.limit.saturating_sub(elapsed);
        if left.is_zero() || asked.is_some_and(|asked| asked > left) {
            return false;
        }
        let pause = asked.unwrap_or(self.next).min(left);
        self.next = (self.next * 2).min(LONGEST);
        self.paused += pause;
        (self.patience.sleep)(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_double_up_to_a_bound_and_end_with_patience() {
        let (patience, pauses) = Patience::recorded(Duration::from_secs(40));
        let mut row = patience.row();
        while row.pause(None).await {}
        let seconds: Vec<_> = pauses.lock().unwrap().iter().map(Duration::as_secs_f64).collect();
        assert_eq!(seconds[..7], [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]);
        let total: f64 = seconds.iter().sum();
        assert!((39.9..=40.0).contains(&total), "{seconds:?}");
    }

    #[tokio::test]
    async fn what_the_other_side_asks_is_granted_within_patience() {
        let (patience, pauses) = Patience::recorded(Duration::from_secs(40));
        let mut row = patience.row();
        assert!(row.pause(Some(Duration::from_secs(30))).await);
        assert!(!row.pause(Some(Duration::from_secs(30))).await);
        assert_eq!(*pauses.lock().unwrap(), [Duration::from_secs(30)]);
    }
}
