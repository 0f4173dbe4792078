//! Lines into batches that fit a request.

use std::io::{self, BufRead, Read};

/// Bytes past which a batch is full.
const BATCH_BYTES: usize = 4 << 20;

/// Longest line that is sent, bytes. The collector takes events of some 256 KiB; a batch and one such line fit a body.
const LINE_BYTES: usize = 8 << 20;

/// Non-blank lines that go out together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines, each ended by a line feed.
    pub body: Vec<u8>,
    pub lines: Vec<Line>,
    /// Numbers of lines that are too long to be sent.
    pub too_long: Vec<u64>,
    /// Lines of the input up to the end of this batch, blank ones included.
    pub done: u64,
}

/// One line of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Number in the input, from 1.
    pub number: u64,
    /// Where it ends in the body.
    end: usize,
}

impl Batch {
    pub fn push(&mut self, number: u64, line: &[u8]) {
        self.body.extend_from_slice(line);
        self.body.push(b'\n');
        self.lines.push(Line { number, end: self.body.len() });
    }

    /// One line of the batch with its line feed.
    pub fn line(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.lines[before].end);
        &self.body[start..self.lines[index].end]
    }
}

/// Makes batches of what a reader gives.
pub struct Batches<R> {
    reader: R,
    lines_per_batch: usize,
    line: u64,
    /// A failure that waits until the lines before it are out.
    failed: Option<io::Error>,
}

/// An input that cannot be read further.
#[derive(Debug, thiserror::Error)]
#[error("after line {line}: {}", explain(source))]
pub struct Broken {
    /// Whole lines before the failure.
    pub line: u64,
    source: io::Error,
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the compressed data ends in the middle; was it copied whole? ({error})")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            format!("the compressed data is damaged ({error})")
        }
        _ => error.to_string(),
    }
}

enum Read1 {
    Line,
    TooLong,
    End,
}

impl<R: BufRead> Batches<R> {
    pub fn new(reader: R, lines_per_batch: usize) -> Self {
        Self { reader, lines_per_batch, line: 0, failed: None }
    }

    /// Passes over lines that were imported before.
    pub fn skip(&mut self, lines: u64) -> Result<(), Broken> {
        let mut buffer = Vec::new();
        while self.line < lines {
            match self.read_line(&mut buffer) {
                Ok(Read1::End) => break,
                Ok(_) => self.line += 1,
                Err(source) => return Err(Broken { line: self.line, source }),
            }
        }
        Ok(())
    }

    /// The next batch, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Batch>, Broken> {
        let mut batch = Batch::default();
        let mut buffer = Vec::new();
        while self.failed.is_none() && batch.lines.len() < self.lines_per_batch && batch.body.len() < BATCH_BYTES {
            match self.read_line(&mut buffer) {
                Ok(Read1::End) => break,
                Ok(Read1::TooLong) => {
                    self.line += 1;
                    batch.too_long.push(self.line);
                }
                Ok(Read1::Line) => {
                    self.line += 1;
                    let line = if self.line == 1 { buffer.strip_prefix(b"\xef\xbb\xbf") } else { None };
                    let line = line.unwrap_or(&buffer).trim_ascii();
                    if !line.is_empty() {
                        batch.push(self.line, line);
                    }
                }
                Err(error) => self.failed = Some(error),
            }
        }
        batch.done = self.line;
        if !batch.lines.is_empty() || !batch.too_long.is_empty() {
            return Ok(Some(batch));
        }
        self.failed.take().map_or(Ok(None), |source| Err(Broken { line: self.line, source }))
    }

    fn read_line(&mut self, buffer: &mut Vec<u8>) -> io::Result<Read1> {
        buffer.clear();
        let read = self.reader.by_ref().take(LINE_BYTES as u64 + 1).read_until(b'\n', buffer)?;
        if read == 0 {
            return Ok(Read1::End);
        }
        if read <= LINE_BYTES || buffer.ends_with(b"\n") {
            return Ok(Read1::Line);
        }
        self.reader.skip_until(b'\n')?;
        Ok(Read1::TooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn blank_lines_count_in_the_numbers_and_are_not_sent() {
        let mut batches = Batches::new(&b"\xef\xbb\xbf{1}\r\n\n  \n{2}\n{3}"[..], 2);
        let first = batches.next().unwrap().unwrap();
        assert_eq!((numbers(&first), &first.body[..], first.done), (vec![1, 4], &b"{1}\n{2}\n"[..], 4));
        assert_eq!(first.line(1), b"{2}\n");
        let second = batches.next().unwrap().unwrap();
        assert_eq!((numbers(&second), second.done), (vec![5], 5));
        assert!(batches.next().unwrap().is_none());
    }

    #[test]
    fn a_batch_ends_at_its_bytes() {
        let line = format!("{}\n", "x".repeat(3 << 20));
        let text = line.repeat(3);
        let mut batches = Batches::new(text.as_bytes(), 1000);
        assert_eq!(numbers(&batches.next().unwrap().unwrap()), [1, 2]);
        assert_eq!(numbers(&batches.next().unwrap().unwrap()), [3]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_is_told() {
        let endless = io::repeat(b'x').take(LINE_BYTES as u64 * 2);
        let mut batches = Batches::new(io::BufReader::new(endless.chain(&b"\n{2}\n"[..])), 1000);
        let batch = batches.next().unwrap().unwrap();
        assert_eq!((batch.too_long.as_slice(), numbers(&batch), &batch.body[..]), (&[1][..], vec![2], &b"{2}\n"[..]));
    }

    #[test]
    fn what_comes_before_a_failure_is_given_out_first() {
        struct Fails;
        impl io::Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let mut batches = Batches::new(io::BufReader::new((&b"{1}\n{2}\n{3"[..]).chain(Fails)), 1000);
        assert_eq!(numbers(&batches.next().unwrap().unwrap()), [1, 2]);
        let error = batches.next().unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.to_string().contains("after line 2: the compressed data ends in the middle"), "{error}");
    }

    #[test]
    fn skipped_lines_keep_their_numbers() {
        let mut batches = Batches::new(&b"{1}\n\n{3}\n{4}\n"[..], 1000);
        batches.skip(2).unwrap();
        assert_eq!(numbers(&batches.next().unwrap().unwrap()), [3, 4]);
    }
}
