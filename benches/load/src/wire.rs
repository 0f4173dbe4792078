//! HTTP/1.1 over a blocking socket: nothing that a measurement would have to subtract.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Longest time an answer may take: a large insert, or a merge of everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A kept connection to a server on this machine.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} {}", self.status, self.text()))
    }
}

impl Connection {
    pub fn open(port: u16) -> io::Result<Self> {
        let stream =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request whose head ends before `Content-Length` and whose body is in pieces; reads the answer.
    pub fn ask<'a>(&mut self, head: &str, body: impl Iterator<Item = &'a [u8]> + Clone) -> anyhow::Result<Answer> {
        let length: usize = body.clone().map(<[u8]>::len).sum();
        let stream = self.stream.get_mut();
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())?;
        for piece in body {
            stream.write_all(piece)?;
        }
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                None => break,
                Some(("content-length", value)) => length = value.parse()?,
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16)?;
                self.take(size, &mut body)?;
                ensure!(self.line()?.is_empty(), "a chunk does not end where it says");
                if size == 0 {
                    break;
                }
            }
        } else {
            self.take(length, &mut body)?;
        }
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn take(&mut self, bytes: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let start = body.len();
        body.resize(start + bytes, 0);
        self.stream.read_exact(&mut body[start..])
    }
}

/// A port of this machine that nobody listens on now.
pub fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
