//! Finding a port, and telling whether *our* engine answers there.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    time::Duration,
};

use super::EngineError;
use crate::store::client::Login;

/// Below the usual range of outgoing connections (Linux: from 32768), so that none of those takes the port while the
/// engine restarts.
pub(super) const PORTS: Range<u16> = 20_000..32_000;
const PORT_ATTEMPTS: usize = 100;
/// Time-out of one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A random port that nobody listens on, other than `taken`.
pub(super) fn free_port(taken: Option<u16>) -> Result<u16, EngineError> {
    for _ in 0..PORT_ATTEMPTS {
        let random = getrandom::u32().map_err(EngineError::Random)?;
        let port = PORTS.start + (random % u32::from(PORTS.end - PORTS.start)) as u16;
        if Some(port) != taken && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(EngineError::NoPort)
}

/// Whether the process `pid` listens on the port and takes our password. The password is not sent before the first is
/// certain: anybody could listen there.
pub(super) fn answers(pid: u32, port: u16, login: &Login) -> bool {
    listens(pid, port) && select_one(port, login).unwrap_or(false)
}

/// Whether `pid` holds the socket that listens on 127.0.0.1:`port` (from /proc).
#[cfg(target_os = "linux")]
fn listens(pid: u32, port: u16) -> bool {
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return false };
    let Some(inode) = listener_inode(&table, port) else { return false };
    let socket = format!("socket:[{inode}]");
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == &*socket))
}

#[cfg(not(target_os = "linux"))]
fn listens(_pid: u32, port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// The inode of the socket in state LISTEN (0A) on 127.0.0.1:`port`, from the text of `/proc/net/tcp`.
fn listener_inode(table: &str, port: u16) -> Option<&str> {
    let loopback = u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets());
    let address = format!("{loopback:08X}:{port:04X}");
    table.lines().find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (columns.next()?, columns.next()?, columns.next()?);
        // Then come the queues, the timer, retransmits, uid, time-out, and the inode.
        if local == address && state == "0A" { columns.nth(5) } else { None }
    })
}

/// One query over a plain connection: the supervisor is a thread without an async runtime.
fn select_one(port: u16, login: &Login) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
    let query = "SELECT 'errata'";
    write!(
        stream,
        "POST / HTTP/1.0\r\nX-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\nContent-Length: {}\r\n\r\n{query}",
        login.user,
        login.password.expose(),
        query.len()
    )?;
    let mut answer = String::new();
    stream.take(16 << 10).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok(head.split(' ').nth(1) == Some("200") && body == "errata\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_is_found_by_address_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:4E20 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11111 1
   1: 00000000:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22222 1
   2: 0100007F:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33333 1
";
        assert_eq!(listener_inode(table, 20_000), Some("33333"));
        assert_eq!(listener_inode(table, 20_001), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_strangers_listener_is_not_taken_for_ours() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        assert!(!listens(1, port));
    }
}
