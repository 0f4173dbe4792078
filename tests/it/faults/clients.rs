//! Rows about clients that are slow, many, or both.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{machine::times, rig::Rig};

/// Opens a connection and sends the beginning of a request, of which the rest never comes.
async fn slow_client(address: String) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"POST /api/v1/events HTTP/1.1\r\nHost: here\r\nContent-").await.ok()?;
    Some(stream)
}

/// Row 32 · 10,000 slow clients (in the short version 3,000; no more than this process may open files for): others are served as before.
#[tokio::test(flavor = "multi_thread")]
async fn row_32_slow_clients_do_not_keep_others_waiting() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let many = times(3_000, 10_000).min(files.saturating_sub(300) as usize);
    let address = rig.setup.url.trim_start_matches("http://").to_owned();
    let mut slow = Vec::with_capacity(many);
    while slow.len() < many {
        let some = (0..100.min(many - slow.len())).map(|_| tokio::spawn(slow_client(address.clone())));
        for client in some.collect::<Vec<_>>() {
            slow.push(client.await.unwrap());
        }
    }
    let began = Instant::now();
    let rounds = times(5, 100) as u32;
    for _ in 0..rounds {
        // Each on a new connection.
        rig.ship(5).await;
    }
    let took = began.elapsed() / rounds;
    println!("{many} slow clients, {took:?} a request on a connection of its own");
    assert!(took < Duration::from_secs(1), "others wait for slow clients: {took:?} a request");
    drop(slow);
    rig.check(&collector, "32", &format!("{many} slow clients")).await;
}
