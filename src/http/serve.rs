//! The server: connections in, requests to the router, within bounds that hold before anybody has shown a token.
//!
//! A client that sends nothing, or its headers byte by byte, costs a socket and a few KiB, for [`Bounds::head_timeout`] at most.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tower::{Service, util::MapRequest};

/// How long accepting rests after the system refused a socket (no file descriptors, no memory): others have to close first.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// What a connection may hold before its headers are read, bytes. Also the longest head of a request.
const BUFFER_BYTES: usize = 64 << 10;

/// Who is at the other end of a request's connection; an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the opening of a connection, or the end of its last answer, to the end of the next request's headers.
    pub head_timeout: Duration,
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
}

impl Bounds {
    /// 15 s for a head; 10,000 connections, or half of the files this process may open where that is less: the spool and
    /// ClickHouse need some too.
    #[must_use]
    pub fn of_process() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = files.and_then(|files| usize::try_from(files / 2).ok()).unwrap_or(usize::MAX);
        Self { head_timeout: Duration::from_secs(15), connections: half.clamp(1, 10_000) }
    }
}

/// Serves until `stop` completes, then lets open requests end. Dropping the future cuts them.
pub async fn serve<S>(listener: TcpListener, service: S, bounds: Bounds, stop: impl Future<Output = ()> + Send)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.head_timeout).max_buf_size(BUFFER_BYTES);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (accept(&listener).await, place)
        };
        let ((stream, peer), place) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        let service = MapRequest::new(service.clone(), move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request.map(Body::new)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // Clients break off, send no HTTP, take too long: each is their own affair.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection. What the system says of one that has gone already is no reason to wait; anything else is likely to be
/// said again at once.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!("connections cannot be accepted: {error}; trying again in {ACCEPT_REST:?}");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
        task::JoinHandle,
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    async fn start(bounds: Bounds) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow"
        };
        let router: Router = Router::new().route("/", get(|| async { "here" })).route("/slow", get(slow));
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(serve(listener, router, bounds, async {
            let _ = stopped.await;
        }));
        (address, stop, running)
    }

    async fn open(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What comes until the other side closes.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        timeout(LONG, stream.read_to_string(&mut text)).await.expect("the connection stays open").unwrap();
        text
    }

    const ASK: &str = "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_client_that_sends_half_a_head_or_nothing_more_is_closed_and_others_are_served_meanwhile() {
        let bounds = Bounds { head_timeout: Duration::from_millis(500), connections: 100 };
        let (address, _stop, _running) = start(bounds).await;
        let began = Instant::now();
        let silent = open(address, "").await;
        let half = open(address, "GET / HTTP/1.1\r\nHo").await;
        let idle = open(address, "GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
        assert!(rest(open(address, ASK).await).await.ends_with("here"));
        assert!(began.elapsed() < bounds.head_timeout, "others wait for slow clients");
        rest(silent).await;
        rest(half).await;
        assert!(
            rest(idle).await.ends_with("here"),
            "a request that arrived is answered before its connection is closed"
        );
        assert!(began.elapsed() >= bounds.head_timeout);
    }

    #[tokio::test]
    async fn connections_past_the_cap_wait_for_a_place() {
        let (address, _stop, _running) = start(Bounds { head_timeout: LONG * 6, connections: 2 }).await;
        let first = open(address, "GET").await;
        let _second = open(address, "GET").await;
        let mut third = open(address, ASK).await;
        let mut byte = [0];
        assert!(timeout(Duration::from_millis(300), third.read(&mut byte)).await.is_err(), "a third is served");
        drop(first);
        assert!(rest(third).await.ends_with("here"));
    }

    #[tokio::test]
    async fn a_shutdown_lets_open_requests_end_and_closes_idle_connections() {
        let (address, stop, running) = start(Bounds { head_timeout: LONG * 6, connections: 100 }).await;
        let mut idle = open(address, "GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
        let mut byte = [0];
        idle.read_exact(&mut byte).await.unwrap();
        let mut asked = open(address, "GET /slow HTTP/1.1\r\nHost: here\r\n\r\n").await;
        // A second request tells that the first was read: connections are accepted in their order.
        assert!(rest(open(address, ASK).await).await.ends_with("here"));
        drop(stop);
        let mut text = String::new();
        timeout(LONG, asked.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with("slow"), "{text:?}");
        rest(idle).await;
        timeout(LONG, running).await.expect("the server ends").unwrap();
    }
}
