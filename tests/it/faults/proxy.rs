//! A TCP proxy between the collector and ClickHouse that does what networks do.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Instant,
};

use super::machine::free_port;

/// What happens to one insert of events: from the first byte of its request on.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends after so many bytes of the request have passed.
    CutRequest(usize),
    /// The connection ends after so many bytes of the answer have passed; 0 swallows it.
    CutAnswer(usize),
    /// Nothing passes for so long; then the connection ends.
    Hang(Duration),
    /// The answer is held back for so long, and then passes.
    Delay(Duration),
    /// ClickHouse never sees it, and this is answered.
    Answer(&'static str),
}

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// All are ended, and new ones refused.
    Refuse,
    /// They are accepted, and nothing passes.
    Hang,
    /// Requests pass, and answers do not: nobody learns whether they were taken.
    Mute,
}

/// A running proxy, gone with the test.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
}

struct Shared {
    upstream: AtomicU16,
    faults: Mutex<VecDeque<Fault>>,
    /// Inserts of events that came by.
    inserts: AtomicU64,
}

impl Proxy {
    pub async fn start(upstream: u16) -> Self {
        let port = free_port();
        let shared =
            Arc::new(Shared { upstream: upstream.into(), faults: Mutex::default(), inserts: AtomicU64::new(0) });
        let (mode, modes) = watch::channel(Mode::Pass);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        tokio::spawn(serve(listener, Arc::clone(&shared), modes));
        Self { port, shared, mode }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another port; to 0, nowhere.
    pub fn lead_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::Relaxed);
    }

    /// Has these happen to the next inserts of events, one each.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// Faults that did not happen yet.
    pub fn planned(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }

    /// Inserts of events that came by.
    pub fn inserts(&self) -> u64 {
        self.shared.inserts.load(Ordering::Relaxed)
    }

    pub fn refuse(&self) {
        self.mode.send_replace(Mode::Refuse);
    }

    pub fn hang(&self) {
        self.mode.send_replace(Mode::Hang);
    }

    pub fn mute(&self) {
        self.mode.send_replace(Mode::Mute);
    }

    pub fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }
}

/// Accepts connections until the proxy is dropped.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut modes: watch::Receiver<Mode>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.unwrap());
        }
        let next = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = next => if let Ok((client, _)) = accepted {
                tokio::spawn(connection(client, Arc::clone(&shared), modes.clone()));
            },
            changed = modes.changed() => if changed.is_err() { return },
        }
    }
}

/// A fault that is happening.
struct Happening {
    fault: Fault,
    /// Bytes that passed since it began.
    passed: usize,
    ends: Instant,
}

/// What is done with bytes that arrive.
enum Pass {
    All,
    /// So many, and then the connection ends.
    Some(usize),
    /// They are kept from the other side.
    None,
}

async fn connection(mut client: TcpStream, shared: Arc<Shared>, mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    if *modes.borrow_and_update() == Mode::Hang {
        let _ = modes.changed().await; // then its connections end
        return Ok(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", shared.upstream.load(Ordering::Relaxed))).await?;
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut happening: Option<Happening> = None;
    loop {
        let ends = happening.as_ref().map_or_else(|| Instant::now() + Duration::from_secs(3600), |fault| fault.ends);
        tokio::select! {
            read = client.read(&mut up) => {
                let bytes = match read? { 0 => return Ok(()), read => &up[..read] };
                if let Some(fault) = shared.fault_for(bytes) {
                    happening = Some(fault);
                }
                if let Some(Happening { fault: Fault::Answer(text), .. }) = &happening {
                    if !bytes.ends_with(b"0\r\n\r\n") {
                        continue;
                    }
                    return client.write_all(text.as_bytes()).await;
                }
                let pass = happening.as_mut().map_or(Pass::All, |fault| fault.of_request(bytes.len()));
                if !forward(pass, bytes, &mut server).await? { return Ok(()) }
            }
            read = server.read(&mut down) => {
                let bytes = match read? { 0 => return Ok(()), read => &down[..read] };
                if *modes.borrow() == Mode::Mute {
                    let _ = modes.changed().await; // then its connections end
                    return Ok(());
                }
                if let Some(Happening { fault: Fault::Delay(_), ends, .. }) = &happening {
                    tokio::time::sleep_until(*ends).await;
                    happening = None;
                }
                let pass = happening.as_mut().map_or(Pass::All, |fault| fault.of_answer(bytes.len()));
                if !forward(pass, bytes, &mut client).await? { return Ok(()) }
            }
            () = tokio::time::sleep_until(ends), if !matches!(happening, Some(Happening { fault: Fault::Delay(_), .. })) => return Ok(()),
            _ = modes.changed() => if *modes.borrow() == Mode::Refuse {
                return Ok(());
            } else if *modes.borrow() == Mode::Hang {
                let _ = modes.changed().await; // it stays open and silent until then
                return Ok(());
            },
        }
    }
}

/// Passes bytes on; whether the connection goes on.
async fn forward(pass: Pass, bytes: &[u8], to: &mut TcpStream) -> io::Result<bool> {
    match pass {
        Pass::All => to.write_all(bytes).await.map(|()| true),
        Pass::Some(count) => to.write_all(&bytes[..count]).await.map(|()| false),
        Pass::None => Ok(true),
    }
}

impl Shared {
    /// The next fault, if an insert of events begins here.
    fn fault_for(&self, bytes: &[u8]) -> Option<Happening> {
        const INSERT: &[u8] = b"query=INSERT+INTO+errata.events+";
        if !bytes.windows(INSERT.len()).any(|window| window == INSERT) {
            return None;
        }
        self.inserts.fetch_add(1, Ordering::Relaxed);
        let fault = self.faults.lock().unwrap().pop_front()?;
        let lasts = match fault {
            Fault::Hang(time) | Fault::Delay(time) => time,
            _ => Duration::from_secs(3600),
        };
        Some(Happening { fault, passed: 0, ends: Instant::now() + lasts })
    }
}

impl Happening {
    fn of_request(&mut self, bytes: usize) -> Pass {
        match self.fault {
            Fault::CutRequest(after) => self.up_to(after, bytes),
            Fault::Hang(_) => Pass::None,
            _ => Pass::All,
        }
    }

    fn of_answer(&mut self, bytes: usize) -> Pass {
        match self.fault {
            Fault::CutAnswer(after) => self.up_to(after, bytes),
            _ => Pass::All,
        }
    }

    fn up_to(&mut self, after: usize, bytes: usize) -> Pass {
        let left = after - self.passed;
        self.passed += bytes.min(left);
        if bytes < left { Pass::All } else { Pass::Some(left) }
    }
}
