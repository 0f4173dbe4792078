//! What was counted of one series, ready to be asked for the sum of any window.

use super::rule::Labels;

/// Counts per step, by the step's begin (milliseconds since the Unix epoch).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    at: Vec<i64>,
    /// Sum of all counts up to and with the step.
    sums: Vec<u64>,
}

impl Counts {
    /// Takes steps in any order; one that comes twice is summed.
    #[must_use]
    pub fn new(mut steps: Vec<(i64, u64)>) -> Self {
        steps.sort_unstable();
        let mut counts = Self::default();
        let mut sum = 0;
        for (at, count) in steps.into_iter().filter(|(_, count)| *count > 0) {
            sum += count;
            if counts.at.last() == Some(&at) {
                counts.sums.pop();
            } else {
                counts.at.push(at);
            }
            counts.sums.push(sum);
        }
        counts
    }

    /// The sum of the steps that begin in `from..to`.
    #[must_use]
    pub fn between(&self, from: i64, to: i64) -> u64 {
        self.before(to).saturating_sub(self.before(from))
    }

    fn before(&self, at: i64) -> u64 {
        match self.at.partition_point(|step| *step < at) {
            0 => 0,
            count => self.sums[count - 1],
        }
    }

    /// The first step from `from` on, and before `to`, that counted anything.
    #[must_use]
    pub fn first(&self, from: i64, to: i64) -> Option<i64> {
        self.at.get(self.at.partition_point(|step| *step < from)).copied().filter(|at| *at < to)
    }

    /// The last step before `to` that counted anything.
    #[must_use]
    pub fn last(&self, to: i64) -> Option<i64> {
        self.at[..self.at.partition_point(|step| *step < to)].last().copied()
    }

    /// The steps that begin in `from..to` and counted anything.
    #[must_use]
    pub fn steps(&self, from: i64, to: i64) -> &[i64] {
        let first = self.at.partition_point(|step| *step < from);
        let end = self.at.partition_point(|step| *step < to);
        &self.at[first.min(end)..end]
    }
}

/// One series of a rule: what is counted, and what that is held against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    pub labels: Labels,
    /// What it is about in a few words, where labels do not say it.
    pub title: String,
    /// When somebody called it resolved: then nothing of before is counted.
    pub resolved_ms: Option<i64>,
    /// By the rule's steps.
    pub counted: Counts,
    /// Steps and accounts that were seen in them, where the rule asks for accounts; ordered by step. Accounts are numbered within the
    /// series.
    pub accounts: Vec<(i64, u32)>,
    /// By hours: what is usual.
    pub hours: Counts,
    /// Requests, by minutes, further back by hours: where there are request totals.
    pub requests: Counts,
    /// Request totals that were reported, by minutes.
    pub reports: Counts,
}

impl Series {
    /// Accounts that were seen in `from..to`.
    #[must_use]
    pub fn accounts(&self, from: i64, to: i64) -> u64 {
        let first = self.accounts.partition_point(|(at, _)| *at < from);
        let end = self.accounts.partition_point(|(at, _)| *at < to);
        let mut seen: Vec<_> = self.accounts[first.min(end)..end].iter().map(|(_, account)| *account).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_summed_by_the_begin_of_their_steps() {
        let counts = Counts::new(vec![(30, 4), (10, 1), (20, 2), (20, 3), (40, 0)]);
        assert_eq!(counts.between(10, 30), 6);
        assert_eq!(counts.between(11, 31), 9);
        assert_eq!((counts.between(31, 99), counts.between(30, 10)), (0, 0));
        assert_eq!((counts.first(11, 99), counts.first(31, 99), counts.first(11, 20)), (Some(20), None, None));
        assert_eq!((counts.last(30), counts.last(10)), (Some(20), None));
        assert_eq!(counts.steps(10, 30), [10, 20]);
    }

    #[test]
    fn an_account_counts_once_a_window() {
        let series = Series { accounts: vec![(10, 1), (10, 2), (20, 1), (30, 3)], ..Series::default() };
        assert_eq!([series.accounts(10, 30), series.accounts(20, 31), series.accounts(31, 99)], [2, 2, 0]);
    }
}
