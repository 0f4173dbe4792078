//! A TCP relay between the collector and ClickHouse that can be taken away: connections are cut, new ones refused.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::wire;

pub struct Relay {
    pub port: u16,
    target: u16,
    open: Option<Open>,
}

/// What there is while the relay is up.
struct Open {
    down: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A relay to a port of this machine; up.
    pub fn start(target: u16) -> io::Result<Self> {
        let mut relay = Self { port: wire::free_port()?, target, open: None };
        relay.up()?;
        Ok(relay)
    }

    pub fn up(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let (down, sockets) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_down, known, target) = (Arc::clone(&down), Arc::clone(&sockets), self.target);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if is_down.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that fails here is cut, as any may be.
                let _ = client.and_then(|client| connect(client, target, &known));
            }
        });
        self.open = Some(Open { down, sockets, accepting });
        Ok(())
    }

    pub fn down(&mut self) {
        let Some(Open { down, sockets, accepting }) = self.open.take() else { return };
        down.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; with it the listener closes.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = accepting.join();
        for socket in sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = socket.shutdown(Shutdown::Both); // it may be closed already
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.down();
    }
}

fn connect(client: TcpStream, target: u16, known: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
    let server = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        known.lock().unwrap_or_else(PoisonError::into_inner).push(socket.try_clone()?);
    }
    copy_on_thread(client.try_clone()?, server.try_clone()?);
    copy_on_thread(server, client);
    Ok(())
}

/// Copies until one side ends, and passes the end on.
fn copy_on_thread(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write); // the other end may be gone
        let _ = from.shutdown(Shutdown::Read);
    });
}
