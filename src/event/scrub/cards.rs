//! Payment card numbers in running text.

use std::ops::Range;

/// Finds the first card number at or after `from`: 13–19 digits, groups parted by one space or hyphen, that begin as the
/// networks' numbers do (2–6; ISO/IEC 7812) and pass the Luhn check.
///
/// A run of digits counts only as a whole: digits that touch a letter, a decimal point or, by a hyphen, another word
/// (UUIDs) are no card number.
pub(super) fn find(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let run = digit_run(bytes, at);
        if stands_alone(bytes, &run) && is_card(&bytes[run.clone()]) {
            return Some(run);
        }
        at = run.end;
    }
    None
}

/// The digits from `start` on, single spaces and hyphens between them included.
fn digit_run(bytes: &[u8], start: usize) -> Range<usize> {
    let mut end = start + 1;
    while end < bytes.len() {
        if bytes[end].is_ascii_digit() {
            end += 1;
        } else if matches!(bytes[end], b' ' | b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end += 2;
        } else {
            break;
        }
    }
    start..end
}

fn stands_alone(bytes: &[u8], run: &Range<usize>) -> bool {
    !touches_a_word(bytes[..run.start].iter().rev()) && !touches_a_word(bytes[run.end..].iter())
}

/// Whether the bytes next to a run, nearest first, make it part of a word or a decimal number.
fn touches_a_word<'a>(mut side: impl Iterator<Item = &'a u8>) -> bool {
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    match side.next() {
        Some(b'-' | b'.') => side.next().is_some_and(joins),
        Some(byte) => joins(byte),
        None => false,
    }
}

fn is_card(run: &[u8]) -> bool {
    let digits = || run.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let count = digits().count();
    if !(13..=19).contains(&count) || !matches!(run[0], b'2'..=b'6') {
        return false;
    }
    let first = run[0];
    let luhn: u32 = digits()
        .enumerate()
        .map(|(index, digit)| match (count - index) % 2 {
            0 if digit > 4 => digit * 2 - 9,
            0 => digit * 2,
            _ => digit,
        })
        .sum();
    luhn.is_multiple_of(10) && digits().any(|digit| digit != u32::from(first - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_with_and_without_separators() {
        for card in ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"] {
            let text = format!("card {card} declined");
            assert_eq!(find(&text, 0).map(|range| text[range].to_owned()).as_deref(), Some(card), "{card}");
        }
    }

    #[test]
    fn other_long_numbers_are_left_alone() {
        let others = [
            "4111111111111112",
            "1794873684000",
            "id_4111111111111111",
            "0.4111111111111111",
            "550e8400-e29b-41da-4111-111111111111",
            "41111111111111114111111111111111",
            "4444444444444444",
            "4111111111111111abc",
        ];
        for other in others {
            assert_eq!(find(other, 0), None, "{other}");
        }
    }
}
