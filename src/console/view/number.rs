//! Numbers: whole ones with thin spaces between the thousands, shares, and short forms for axes.

/// Narrow and never a line's end.
const THIN: char = '\u{202f}';

/// `12 345`, with thin spaces.
#[must_use]
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len());
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// `3 accounts`, `1 account`.
#[must_use]
pub fn plural(value: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { several })
}

/// A share of 0 to 1 as `61 %`; small ones with the digits that tell them from none.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = match percent {
        none if none <= 0.0 => "0".to_owned(),
        tiny if tiny < 0.01 => "< 0.01".to_owned(),
        small if small < 1.0 => format!("{small:.2}"),
        medium if medium < 10.0 => format!("{medium:.1}"),
        // What is not all is not 100 %.
        part if part < 100.0 => format!("{:.0}", part.min(99.0)),
        all => format!("{all:.0}"),
    };
    format!("{text}{THIN}%")
}

/// What part of requests had an error, as [`percent`]; none where it would be more than all of them: then requests were not reported that were
/// served, and the part is not known.
#[must_use]
pub fn share(ratio: f64) -> Option<String> {
    (ratio <= 1.0).then(|| percent(ratio))
}

/// `950`, `1.2k`, `3M`: for axes, where digits have no room.
#[must_use]
pub fn compact(value: f64) -> String {
    let scaled = |divisor: f64, unit: &str| {
        let text = format!("{:.1}", value / divisor);
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    match value.abs() {
        small if small < 1000.0 => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        thousands if thousands < 1e6 => scaled(1e3, "k"),
        millions if millions < 1e9 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_is_of_more_than_all() {
        assert_eq!([share(0.08), share(1.0)], [Some("8.0\u{202f}%".into()), Some("100\u{202f}%".into())]);
        assert_eq!([share(1.0001), share(1.08), share(f64::NAN)], [None, None, None]);
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1000), "1\u{202f}000");
        assert_eq!(number(12_345_678), "12\u{202f}345\u{202f}678");
        assert_eq!(
            (plural(1, "account", "accounts"), plural(2, "account", "accounts")),
            ("1 account".into(), "2 accounts".into())
        );
    }

    #[test]
    fn shares_tell_little_from_none_and_nearly_all_from_all() {
        let shown = |share: f64| percent(share).replace('\u{202f}', " ");
        for (share, expected) in [
            (0.0, "0 %"),
            (0.00001, "< 0.01 %"),
            (0.001, "0.10 %"),
            (0.0512, "5.1 %"),
            (0.614, "61 %"),
            (0.9999, "99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(shown(share), expected, "{share}");
        }
    }

    #[test]
    fn axes_have_short_numbers() {
        for (value, expected) in
            [(0.0, "0"), (0.5, "0.5"), (950.0, "950"), (1000.0, "1k"), (1250.0, "1.2k"), (3e6, "3M"), (2.5e9, "2.5G")]
        {
            assert_eq!(compact(value), expected);
        }
    }
}
