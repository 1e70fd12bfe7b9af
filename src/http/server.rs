//! Accepts connections and serves a router on them: HTTP/1.1, and HTTP/2 without TLS for proxies
//! that speak it.
//!
//! axum's own loop cannot bound connections, headers and buffers, which is what keeps thousands of
//! idle long polls small; so this one stands on hyper, which axum stands on too.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

/// How long the loop rests after the system refused to accept, such as for want of file handles.
const REST: Duration = Duration::from_millis(100);

/// Bounds of connections.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How many connections are open at once; more wait in the system's queue.
    pub max_connections: usize,
    /// How long the head of a request may take to come in, also the first one, and also the next
    /// one on an idle connection. Longer than proxies keep idle connections (60 s is usual), or
    /// they would send a request into a connection that is being closed.
    pub header_timeout: Duration,
    /// The largest head of a request; a larger one is answered 431.
    pub max_header_bytes: usize,
    /// How long requests may go on after the server was asked to stop.
    pub grace: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            header_timeout: Duration::from_secs(75),
            max_header_bytes: 32 * 1024,
            grace: Duration::from_secs(20),
        }
    }
}

/// Serves any number of listeners within one bound of connections. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    connections: Arc<Semaphore>,
    protocol: Arc<auto::Builder<TokioExecutor>>,
    header_timeout: Duration,
    grace: Duration,
}

impl Server {
    /// A server that serves nothing yet.
    pub fn new(settings: &ServerSettings) -> Self {
        let most = settings.max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            connections: Arc::new(Semaphore::new(most)),
            protocol: Arc::new(protocol(settings)),
            header_timeout: settings.header_timeout,
            grace: settings.grace,
        }
    }

    /// Serves `router` until `shutdown`; then accepts no more, lets the requests under way finish,
    /// and cuts off those that take longer than the grace time. Long polls listen to the same
    /// token and answer by themselves.
    pub async fn serve(self, listener: TcpListener, router: Router, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let cut_off = CancellationToken::new();
        while let Some((stream, peer, place)) = self.accept(&listener, &shutdown).await {
            let connection = Connection {
                protocol: Arc::clone(&self.protocol),
                router: router.clone(),
                header_timeout: self.header_timeout,
                shutdown: shutdown.clone(),
                cut_off: cut_off.clone(),
                _place: place,
            };
            tasks.spawn(connection.run(stream, peer));
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(self.grace, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = tasks.len(),
                "cutting off requests that take too long"
            );
            cut_off.cancel();
            tasks.wait().await;
        }
    }

    /// The next connection, once there is a place for it; none after `shutdown`.
    async fn accept(
        &self,
        listener: &TcpListener,
        shutdown: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let accept = async {
            let place = Arc::clone(&self.connections).acquire_owned().await.ok()?;
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => return Some((stream, peer, place)),
                    Err(error) if is_of_one_connection(&error) => (),
                    Err(error) => {
                        tracing::error!(%error, "cannot accept connections");
                        tokio::time::sleep(REST).await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => None,
            accepted = accept => accepted,
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("free_connections", &self.connections.available_permits())
            .finish_non_exhaustive()
    }
}

fn protocol(settings: &ServerSettings) -> auto::Builder<TokioExecutor> {
    // hyper takes no less.
    const LEAST_BUFFER: usize = 8192;
    let headers = settings.max_header_bytes.max(LEAST_BUFFER);
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(headers);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX));
    protocol
}

/// Whether only the connection that was about to be accepted is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

struct Connection {
    protocol: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    header_timeout: Duration,
    shutdown: CancellationToken,
    cut_off: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole: waiting for more to send would only delay them.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let router = &self.router;
        let has_asked = &AtomicBool::new(false);
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().call(request.map(Body::new))
        });
        let connection = self
            .protocol
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut silence = std::pin::pin!(tokio::time::sleep(self.header_timeout));
        let (mut may_be_silent, mut is_stopping) = (true, false);
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                // hyper's own limit begins once it knows the version of the protocol: whoever
                // sends nothing, or a part of HTTP/2's first line, would stay for ever.
                () = silence.as_mut(), if may_be_silent => {
                    may_be_silent = false;
                    if !has_asked.load(Ordering::Relaxed) {
                        return;
                    }
                }
                () = self.shutdown.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut_off.cancelled() => return,
            }
        };
        if let Err(error) = ended {
            // Clients go away all the time.
            tracing::trace!(error, "connection broke off");
        }
    }
}
