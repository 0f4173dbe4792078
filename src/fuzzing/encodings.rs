//! Content encodings: what comes out is within its limits, and is what went in.

use std::{borrow::Cow, io::Write as _};

use super::draw::Draw;
use crate::decode::{Limits, Refusal, decompress, most_bytes};

/// Input and its compressed forms are decompressed many times.
const MAX_INPUT: usize = 16 << 10;

const NAMES: [&str; 3] = ["gzip", "zstd", "deflate"];

pub fn run(input: &[u8]) {
    if input.len() > MAX_INPUT {
        return;
    }
    let limits = Limits { body: 12 << 10, decompressed: 64 << 10, ..Limits::default() };
    for name in NAMES {
        match decompress(Some(name), input, &limits) {
            Ok(output) => {
                assert!(output.len() <= limits.decompressed && input.len() <= limits.body);
                assert!(output.len() <= most_bytes(Some(name), input.len(), &limits), "more than was budgeted");
                let trailing = [input, b"x"].concat();
                assert!(decompress(Some(name), &trailing, &limits).is_err(), "{name}: bytes after the end");
            }
            Err(Refusal::TooLarge { limit, .. }) => assert!([limits.body, limits.decompressed].contains(&limit)),
            Err(Refusal::BadEncoding { encoding, message }) => assert!(encoding == name && !message.is_empty()),
            Err(Refusal::Bomb(_)) => panic!("a bomb below what is never judged"),
            Err(other) => panic!("{other}"),
        }
    }
    round_trip(input, &mut Draw::new(input));
    named(input);
}

/// Compressed and decompressed it is the same; cut off, or beyond a limit, it is refused.
fn round_trip(data: &[u8], draw: &mut Draw<'_>) {
    for name in NAMES {
        let body = compressed(name, data, draw.below(2) == 0);
        let limits = Limits::default();
        assert_eq!(decompress(Some(name), &body, &limits).unwrap(), data, "{name}");
        let cut = draw.below(body.len().min(65_536));
        if cut > 0 {
            let outcome = decompress(Some(name), &body[..cut], &limits);
            assert!(matches!(outcome, Err(Refusal::BadEncoding { .. })), "{name} cut at {cut}: {outcome:?}");
        }
        let exact = Limits { decompressed: data.len(), body: body.len(), ..Limits::default() };
        assert!(decompress(Some(name), &body, &exact).is_ok(), "{name}: on the limits");
        if !data.is_empty() {
            let less = Limits { decompressed: data.len() - 1, ..exact.clone() };
            assert!(matches!(decompress(Some(name), &body, &less), Err(Refusal::TooLarge { .. })), "{name}");
        }
        let less = Limits { body: body.len() - 1, ..exact };
        assert!(matches!(decompress(Some(name), &body, &less), Err(Refusal::TooLarge { .. })), "{name}");
    }
}

/// `deflate` is zlib's format, or raw.
fn compressed(name: &str, data: &[u8], alternative: bool) -> Vec<u8> {
    let level = flate2::Compression::new(if alternative { 9 } else { 1 });
    match name {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(data, if alternative { 1 } else { 7 }).unwrap(),
        _ if alternative => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// The input as the name of an encoding: known, none, or refused without being repeated at length.
fn named(input: &[u8]) {
    let name = String::from_utf8_lossy(input);
    match decompress(Some(&name), b"abc", &Limits::default()) {
        Ok(Cow::Borrowed(body)) => assert_eq!(body, b"abc"),
        Ok(Cow::Owned(_)) => panic!("{name:?} decompressed what is not compressed"),
        Err(Refusal::UnsupportedEncoding(shown)) => assert!(shown.chars().count() <= 64 && name.starts_with(&shown)),
        Err(Refusal::BadEncoding { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}
