//! Bodies that are compressed: too large, damaged, or not what they say.

use std::io::Write as _;

use flate2::{Compress, Compression, FlushCompress, write};

use super::*;

type Encode = fn(&[u8]) -> Vec<u8>;

const ENCODINGS: [(&str, Encode); 4] = [("gzip", gzip), ("zstd", zstd), ("deflate", zlib), ("deflate", raw)];

pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw(data: &[u8]) -> Vec<u8> {
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

pub(super) fn decompressed(random: &mut Random, bytes: usize, expected: u16) -> Input {
    let (name, encode) = random.of(&ENCODINGS);
    // The first 4 MiB over and over, as members of one stream would repeat: still real lines.
    let body = encode(&lines(random, bytes));
    assert!(body.len() <= 16 * MIB && body.len() * 200 > bytes, "{} bytes of {name}", body.len());
    Input::new(NDJSON, body, expected).encoded(name)
}

/// A GiB of zeros from about a KiB for each MiB of it, or from a body that only says so.
pub(super) fn bomb(random: &mut Random) -> Input {
    let unit = vec![0; MIB];
    let (name, body) = match random.below(4) {
        0 => ("gzip", gzip(&unit).repeat(1024)),
        1 => ("zstd", zstd(&unit).repeat(1024)),
        2 => ("deflate", deflate_bomb(&unit)),
        // A thousand times the limit of 4 MiB below which the ratio does not count, all in the first KiB.
        _ => ("zstd", zstd(&vec![0; 64 * MIB])),
    };
    Input::new(NDJSON, body, 413).encoded(name)
}

/// One raw deflate stream: a MiB of zeros, its block over and over.
fn deflate_bomb(unit: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(64 * KIB);
    compress.compress_vec(unit, &mut block, FlushCompress::Full).unwrap();
    let mut body = block.repeat(1024);
    body.extend(raw(b""));
    body
}

pub(super) fn damaged_encoding(random: &mut Random) -> Input {
    let (name, encode) = random.of(&ENCODINGS);
    let text: String = (0..=random.below(40)).map(|_| event(random).to_string() + "\n").collect();
    let mut body = encode(text.as_bytes());
    match random.below(3) {
        0 => body.truncate(1 + random.below(body.len() - 1)),
        1 => body.extend(b"trailing garbage"),
        _ => body[0] ^= 0xff,
    }
    Input::new(NDJSON, body, 400).encoded(name)
}

/// Well encoded, not as it says; or encoded twice.
pub(super) fn wrong_encoding(random: &mut Random) -> Input {
    let text = event(random).to_string();
    let (said, body) = match random.below(5) {
        0 => ("gzip", zstd(text.as_bytes())),
        1 => ("zstd", gzip(text.as_bytes())),
        2 => ("deflate", text.into_bytes()),
        3 => ("gzip", gzip(&gzip(text.as_bytes()))),
        _ => ("", gzip(text.as_bytes())),
    };
    Input::new(NDJSON, body, 400).encoded(said)
}

pub(super) fn unknown_encoding(random: &mut Random) -> Input {
    let long = "x".repeat(2000);
    let names = ["br", "compress", "lzma", "snappy", "gzip, gzip", "gzip,zstd", "deflate;q=1", "*", long.as_str()];
    let body = gzip(event(random).to_string().as_bytes());
    Input::new(NDJSON, body, 415).encoded(random.of(&names))
}
