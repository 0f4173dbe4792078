//! Durations as people write them on a command line.

use std::time::Duration;

/// Reads `90d`, `12h`, `5m`, `30s` or `500ms`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let teach = || format!("expected a duration such as 30s, 5m, 12h or 90d, got {text:?}");
    let digits = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(teach)?;
    let count: u64 = text[..digits].parse().map_err(|_| teach())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(teach()),
    };
    // A hundred years: later arithmetic on times cannot overflow.
    let limit_ms = 36_500 * 86_400_000;
    count
        .checked_mul(unit_ms)
        .filter(|total_ms| *total_ms <= limit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| "at most 36500d".to_owned())
}

/// Shows a duration roughly, in its largest unit: `42 s`, `12 min`, `3 h`, `5 d`.
pub fn rough(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_every_unit_are_read() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("12h", 43_200_000), ("90d", 7_776_000_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)));
        }
        for text in ["", "5", "m", "-1s", "1.5h", "1w", "99999999999999999999d", "40000d", "5 m"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rough_durations_use_the_largest_fitting_unit() {
        assert_eq!([42, 720, 10_800, 432_000].map(rough), ["42 s", "12 min", "3 h", "5 d"]);
    }
}
