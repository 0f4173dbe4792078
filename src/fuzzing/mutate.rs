//! Inputs made from a corpus, by seed: bytes, words and lines are changed, moved and taken from other entries.

/// A small generator: the seed is all there is to an input.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `sides`; 0 when there are none.
    pub fn roll(&mut self, sides: usize) -> usize {
        if sides == 0 { 0 } else { (self.next() % sides as u64) as usize }
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.roll(of.len())]
    }

    /// A piece of this length at most, anywhere.
    fn range(&mut self, len: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.roll(len + 1);
        start..start + self.roll(most.min(len - start) + 1)
    }
}

/// What has broken parsers before.
const WORDS: [&[u8]; 46] = [
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    "\u{10ffff}\u{202e}é".as_bytes(),
    b" ",
    b"\t",
    b"\r\n",
    b"\n",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"\\u00e9",
    b"\"",
    b"'",
    b"`",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[[[[[[[[[",
    b"{}",
    b"[]",
    b"\"\"",
    b"null",
    b"true",
    b"0",
    b"-0",
    b"-1",
    b"1e999",
    b"1.5",
    b"0.1e-7",
    b"4294967296",
    b"9223372036854775808",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999",
    b",",
    b":",
    b"=",
    b"%00",
    b"../",
    b"a@b.example",
    b"4111111111111111",
    b"Bearer abcdefghijklmnop",
];

/// An input made from one entry and pieces of others.
pub fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = dice.pick(corpus).clone();
    for _ in 0..=dice.roll(6) {
        change(&mut input, corpus, dice);
    }
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    let other = dice.pick(corpus);
    match dice.roll(12) {
        0 if !input.is_empty() => {
            let at = dice.roll(input.len());
            input[at] ^= 1 << dice.roll(8);
        }
        1 if !input.is_empty() => {
            let at = dice.roll(input.len());
            input[at] = dice.next() as u8;
        }
        2 => {
            let range = dice.range(input.len(), 40);
            input.drain(range);
        }
        3 => {
            let piece = input[dice.range(input.len(), 60)].repeat(1 + dice.roll(4));
            insert(input, &piece, dice);
        }
        4 => {
            let word = dice.pick(&WORDS).repeat(1 + dice.roll(3) * dice.roll(60));
            insert(input, &word, dice);
        }
        5 => {
            let piece = other[dice.range(other.len(), 200)].to_vec();
            insert(input, &piece, dice);
        }
        6 => {
            let (end, start) = (dice.roll(input.len() + 1), dice.roll(other.len() + 1));
            input.truncate(end);
            input.extend_from_slice(&other[start..]);
        }
        7 => *input = join_lines(input, other, dice),
        8 => replace_word(input, WORDS[dice.roll(WORDS.len())], dice),
        // Most often: one word for another leaves a text well-formed.
        _ => {
            let words = words(other);
            if !words.is_empty() {
                replace_word(input, &other[dice.pick(&words).clone()], dice);
            }
        }
    }
}

fn insert(input: &mut Vec<u8>, piece: &[u8], dice: &mut Dice) {
    let at = dice.roll(input.len() + 1);
    input.splice(at..at, piece.iter().copied());
}

fn replace_word(input: &mut Vec<u8>, with: &[u8], dice: &mut Dice) {
    let words = words(input);
    if !words.is_empty() {
        let range = dice.pick(&words).clone();
        input.splice(range, with.iter().copied());
    }
}

/// A line of the one after a line of the other.
fn join_lines(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    let others: Vec<&[u8]> = other.split(|&byte| byte == b'\n').collect();
    let at = dice.roll(lines.len() + 1);
    lines.insert(at, others[dice.roll(others.len())]);
    lines.join(&b'\n')
}

/// Quoted texts, runs of letters and digits, and single other bytes.
fn words(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80;
    let mut words = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let len = match rest[0] {
            b'"' => rest[1..].iter().position(|&byte| byte == b'"').map_or(1, |end| end + 2),
            first if is_letter(first) => rest.iter().position(|&byte| !is_letter(byte)).unwrap_or(rest.len()),
            _ => 1,
        };
        words.push(at..at + len);
        at += len;
    }
    words
}

/// The input without what it does not need to fail, as far as so many tries go.
pub fn shrunk(mut input: Vec<u8>, mut tries: usize, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut piece = input.len().div_ceil(2);
    while piece > 0 && tries > 0 {
        let mut at = 0;
        while at < input.len() && tries > 0 {
            tries -= 1;
            let shorter = [&input[..at], &input[(at + piece).min(input.len())..]].concat();
            if fails(&shorter) {
                input = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}
