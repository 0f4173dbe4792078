//! Content encodings, undone within limits.
//!
//! Output grows chunk by chunk and is checked after each, so a refused body has cost no more memory than its limit
//! allowed: a bomb stops at [`FREE_OUTPUT`] plus one chunk. Whatever follows the end of the data is an error, as is data
//! that ends early: half a batch must not pass for a whole one.

use std::{borrow::Cow, io::Read};

use super::{Limits, Refusal};

/// Output may be this many times as long as the body. Repetitive NDJSON reaches some 50-fold.
pub const MAX_RATIO: usize = 200;

/// Output up to this many bytes is never judged by its ratio.
const FREE_OUTPUT: usize = 4 << 20;

/// Bytes that a body of this length takes at most once its encoding is undone, for whoever budgets memory.
#[must_use]
pub fn most_bytes(encoding: Option<&str>, body_len: usize, limits: &Limits) -> usize {
    match encoding {
        None => body_len,
        Some(_) => body_len.saturating_mul(MAX_RATIO).max(FREE_OUTPUT).min(limits.decompressed),
    }
}

/// Largest zstd window, as a power of two: 8 MiB, what RFC 9659 allows for HTTP.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

const CHUNK: usize = 64 << 10;

/// Undoes a content encoding within the limits. Encodings on top of each other (`gzip, zstd`) are refused: no shipper
/// sends them, and each level would multiply what a small body can cost.
///
/// # Errors
/// When the encoding is unknown, the bytes do not decode, or a limit is passed.
pub fn decompress<'a>(encoding: Option<&str>, body: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Refusal> {
    if body.len() > limits.body {
        return Err(Refusal::TooLarge { limit: limits.body, what: "as sent" });
    }
    let named = encoding.unwrap_or_default();
    let mut codings = named
        .split(',')
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity");
    let (coding, more) = (codings.next(), codings.next());
    if more.is_some() {
        return Err(Refusal::UnsupportedEncoding(shown(named)));
    }
    let output = Output { bytes: Vec::new(), body_len: body.len(), limit: limits.decompressed };
    match coding.as_deref() {
        None if body.len() > limits.decompressed => {
            Err(Refusal::TooLarge { limit: limits.decompressed, what: "decompressed" })
        }
        None => Ok(Cow::Borrowed(body)),
        Some("gzip" | "x-gzip") => output.fill_from("gzip", flate2::bufread::MultiGzDecoder::new(body)).map(Cow::Owned),
        Some("zstd") => zstd(body, output).map(Cow::Owned),
        Some("deflate") => deflate(body, output).map(Cow::Owned),
        Some(_) => Err(Refusal::UnsupportedEncoding(shown(named))),
    }
}

/// A client's text as it may be repeated in an answer.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn bad(encoding: &'static str, message: impl std::fmt::Display) -> Refusal {
    Refusal::BadEncoding { encoding, message: message.to_string() }
}

/// Frames one after another; skippable ones are stepped over.
fn zstd(body: &[u8], output: Output) -> Result<Vec<u8>, Refusal> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(|error| bad("zstd", error))?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(|error| bad("zstd", error))?;
    output.fill_from("zstd", decoder)
}

/// `deflate` is the zlib format (RFC 9110), but many clients send it raw: what does not begin, or go on, like zlib is
/// read as raw.
fn deflate(body: &[u8], output: Output) -> Result<Vec<u8>, Refusal> {
    let zlib_header = matches!(body, [first, second, ..]
        if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
    if !zlib_header {
        return inflate(body, false, output);
    }
    let again = Output { bytes: Vec::new(), ..output };
    match inflate(body, true, output) {
        Err(refusal @ Refusal::BadEncoding { .. }) => inflate(body, false, again).map_err(|_| refusal),
        done => done,
    }
}

fn inflate(body: &[u8], zlib: bool, mut output: Output) -> Result<Vec<u8>, Refusal> {
    let mut inflater = flate2::Decompress::new(zlib);
    let mut chunk = vec![0; CHUNK];
    loop {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let rest = &body[usize::try_from(read).unwrap_or(body.len())..];
        let status = inflater
            .decompress(rest, &mut chunk, flate2::FlushDecompress::None)
            .map_err(|error| bad("deflate", error))?;
        let made = usize::try_from(inflater.total_out() - written).unwrap_or(CHUNK);
        output.push(&chunk[..made])?;
        match status {
            flate2::Status::StreamEnd if inflater.total_in() < body.len() as u64 => {
                return Err(bad("deflate", "there are bytes after the end of the data"));
            }
            flate2::Status::StreamEnd => return Ok(output.bytes),
            _ if made == 0 && inflater.total_in() == read => {
                return Err(bad("deflate", "the data ends early: was the body cut off?"));
            }
            _ => {}
        }
    }
}

/// Decompressed bytes and their bounds.
struct Output {
    bytes: Vec<u8>,
    body_len: usize,
    limit: usize,
}

impl Output {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let len = self.bytes.len() + chunk.len();
        if len > self.limit {
            return Err(Refusal::TooLarge { limit: self.limit, what: "decompressed" });
        }
        if len > FREE_OUTPUT && len > self.body_len.saturating_mul(MAX_RATIO) {
            return Err(Refusal::Bomb(MAX_RATIO));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn fill_from(mut self, encoding: &'static str, mut decoder: impl Read) -> Result<Vec<u8>, Refusal> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match decoder.read(&mut chunk) {
                Ok(0) => return Ok(self.bytes),
                Ok(made) => self.push(&chunk[..made])?,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(bad(encoding, "the data ends early: was the body cut off?"));
                }
                Err(error) => return Err(bad(encoding, error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(data: &[u8]) -> Vec<u8> {
        let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).unwrap()
    }

    type Encode = fn(&[u8]) -> Vec<u8>;
    const ENCODINGS: [(&str, Encode); 4] = [("gzip", gzip), ("zstd", zstd), ("deflate", zlib), ("deflate", raw)];

    fn undo(encoding: &str, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        decompress(Some(encoding), body, &Limits::default()).map(Cow::into_owned)
    }

    #[test]
    fn every_encoding_comes_back_as_it_was() {
        let data: Vec<u8> =
            (0..300_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
        for (name, encode) in ENCODINGS {
            assert!(undo(name, &encode(&data)).unwrap() == data, "{name}");
            assert_eq!(undo(name, &encode(b"")).unwrap(), b"", "{name}");
        }
        for name in ["", "identity", " Identity , "] {
            assert!(matches!(decompress(Some(name), &data, &Limits::default()), Ok(Cow::Borrowed(_))), "{name}");
        }
        assert_eq!(undo("X-GZIP", &gzip(b"a")).unwrap(), b"a");
    }

    #[test]
    fn members_and_frames_follow_one_another() {
        assert_eq!(undo("gzip", &[gzip(b"a"), gzip(b"b")].concat()).unwrap(), b"ab");
        assert_eq!(undo("zstd", &[zstd(b"a"), zstd(b"b")].concat()).unwrap(), b"ab");
    }

    #[test]
    fn data_cut_off_at_any_byte_is_an_error() {
        let data = b"{\"status\":500}\n".repeat(40);
        for (name, encode) in ENCODINGS {
            let whole = encode(&data);
            for cut in 1..whole.len() {
                let outcome = undo(name, &whole[..cut]);
                assert!(matches!(outcome, Err(Refusal::BadEncoding { .. })), "{name} cut at {cut}: {outcome:?}");
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_an_error() {
        for (name, encode) in ENCODINGS {
            let outcome = undo(name, &[encode(b"abc"), b"trailing".to_vec()].concat());
            assert!(matches!(outcome, Err(Refusal::BadEncoding { .. })), "{name}: {outcome:?}");
        }
    }

    #[test]
    fn a_flipped_bit_never_passes_for_the_data() {
        let data = b"{\"status\":500}\n".repeat(40);
        for (name, encode) in &ENCODINGS[..3] {
            let whole = encode(&data);
            for bit in 0..whole.len() * 8 {
                let mut damaged = whole.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(output) = undo(name, &damaged) {
                    // zstd frames carry no checksum by default; gzip headers hold a time that means nothing.
                    assert!(*name == "zstd" || output == data, "{name}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn bombs_are_refused_and_real_data_is_not() {
        let zeros = vec![0_u8; 32 << 20];
        for (name, encode) in ENCODINGS {
            let outcome = undo(name, &encode(&zeros));
            assert!(matches!(outcome, Err(Refusal::Bomb(MAX_RATIO))), "{name}: {outcome:?}");
            assert!(undo(name, &encode(&zeros[..FREE_OUTPUT])).is_ok(), "{name}");
        }
    }

    #[test]
    fn both_sides_are_limited() {
        let limits = Limits { body: 100, decompressed: 1000, ..Limits::default() };
        let noise: Vec<u8> = (0..101_u8).collect();
        assert!(matches!(decompress(None, &noise, &limits), Err(Refusal::TooLarge { limit: 100, .. })));
        for (name, encode) in ENCODINGS {
            assert!(decompress(Some(name), &encode(&[7; 1000]), &limits).is_ok(), "{name}");
            let body = encode(&[7; 1001]);
            let outcome = decompress(Some(name), &body, &limits);
            assert!(matches!(outcome, Err(Refusal::TooLarge { limit: 1000, .. })), "{name}: {outcome:?}");
        }
    }

    #[test]
    fn a_zstd_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(MAX_ZSTD_WINDOW_LOG + 1).unwrap();
        encoder.write_all(b"abc").unwrap();
        encoder.flush().unwrap();
        let frame = encoder.finish().unwrap();
        assert!(matches!(undo("zstd", &frame), Err(Refusal::BadEncoding { .. })));
    }

    #[test]
    fn unknown_and_stacked_encodings_are_refused() {
        for name in ["br", "gzip, zstd", "gzip,gzip", "compress"] {
            assert!(matches!(undo(name, b"abc"), Err(Refusal::UnsupportedEncoding(_))), "{name}");
        }
    }
}
