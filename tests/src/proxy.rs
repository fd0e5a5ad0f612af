//! A proxy between a pipeline and ClickHouse that injects faults into requests.
//!
//! It reads a request completely before it forwards it, and a reply completely before it returns it: a reply can be
//! lost after the insert was executed, and never before.

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use http_body_util::{BodyExt, Full, channel::Channel};
use hyper::{
    Method, Request, Response,
    body::{Body, Bytes, Incoming},
    client::conn::http1::{self as client, SendRequest},
    header::{CONTENT_TYPE, TRANSFER_ENCODING},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_linger;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

/// How long the server may take for one request.
const REPLY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long half of a body may take to reach the server before the connection is reset.
const HALF_SENT: Duration = Duration::from_millis(50);

const TOO_MANY_PARTS: &str = "Code: 252. DB::Exception: Too many parts (3001 with average size of 12.00 KiB) in table \
    'chaos'. Merges are processing significantly slower than inserts. (TOO_MANY_PARTS) (version 26.7.1.1 (official \
    build))\n";

/// A fault of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// The server executes the request; the client's connection closes without a reply. Errors of the server are
    /// returned as they are.
    LostReply,
    /// The server gets half of the body, then both connections are reset.
    Reset,
    /// The request is forwarded after this delay.
    Delay(Duration),
    /// The request is forwarded after [`Proxy::release`].
    Held,
    /// The client gets this status, as from a load balancer.
    HttpError {
        /// 500 or 503.
        status: u16,
        /// Whether the server executes the request before.
        executed: bool,
    },
    /// The client gets ClickHouse's error for too many parts; the server gets nothing.
    TooManyParts,
}

impl fmt::Display for RequestFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostReply => write!(out, "reply lost"),
            Self::Reset => write!(out, "connection reset in the middle of the body"),
            Self::Delay(delay) => write!(out, "delayed by {:.1} s", delay.as_secs_f64()),
            Self::Held => write!(out, "held"),
            Self::HttpError { status, executed: false } => write!(out, "HTTP {status}"),
            Self::HttpError { status, executed: true } => write!(out, "HTTP {status} after it was executed"),
            Self::TooManyParts => write!(out, "too many parts"),
        }
    }
}

/// A running proxy. It stops when this value is dropped.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts a proxy for the server at `url`, `http://host:port`.
    ///
    /// # Errors
    /// There is no free port or no thread.
    pub fn start(url: &str) -> io::Result<Self> {
        let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let state = Arc::new(State { server, ..State::default() });
        let serving = Arc::clone(&state);
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = accept(listener, move |client| serve(Arc::clone(&serving), client))?;
        Ok(Self { address, state, _stop: stop })
    }

    /// The URL that clients use instead of the server's.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives the next `requests` inserts this fault, after those that already have one.
    pub fn order(&self, fault: RequestFault, requests: usize) {
        lock(&self.state.inserts).extend(std::iter::repeat_n(fault, requests));
    }

    /// Lets the next `skipped` requests of any kind pass and gives the `requests` after them this fault.
    pub fn order_for_any_request(&self, skipped: usize, fault: RequestFault, requests: usize) {
        let mut queue = lock(&self.state.any_requests);
        queue.extend(std::iter::repeat_n(None, skipped));
        queue.extend(std::iter::repeat_n(Some(fault), requests));
    }

    /// Faults that are ordered and have not happened yet.
    pub fn pending(&self) -> usize {
        lock(&self.state.inserts).len() + lock(&self.state.any_requests).iter().flatten().count()
    }

    /// Drops the faults that have not happened yet.
    pub fn cancel(&self) {
        lock(&self.state.inserts).clear();
        lock(&self.state.any_requests).clear();
    }

    /// Forwards the requests that are held.
    pub fn release(&self) {
        self.state.released.notify_waiters();
    }

    /// Requests that have come and have no reply yet.
    pub fn in_progress(&self) -> usize {
        self.state.in_progress.load(Ordering::Relaxed)
    }

    /// Whether a delayed request is dropped when its client has disconnected meanwhile. By default it is forwarded, and
    /// the server executes the insert of a client that no longer exists.
    pub fn drop_abandoned(&self, drops: bool) {
        self.state.drops_abandoned.store(drops, Ordering::Relaxed);
    }

    /// Closes every connection instead of forwarding, or forwards again.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.state.is_cut_off.store(is_cut_off, Ordering::Relaxed);
    }

    /// The faults that have happened, in order.
    pub fn injected(&self) -> Vec<RequestFault> {
        lock(&self.state.injected).clone()
    }
}

/// Forwards TCP connections. It stops when this value is dropped.
pub struct TcpForward {
    _stop: oneshot::Sender<()>,
}

impl TcpForward {
    /// Forwards from `address` to `server`, both `host:port`.
    ///
    /// # Errors
    /// The address is in use.
    pub fn start(address: &str, server: &str) -> io::Result<Self> {
        let server = server.to_owned();
        let stop = accept(StdListener::bind(address)?, move |mut client| {
            let server = server.clone();
            async move {
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// Serves each connection in a task of its own, until the returned sender is dropped.
fn accept<F>(
    listener: StdListener,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> io::Result<oneshot::Sender<()>>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name("proxy".to_owned()).spawn(move || {
        runtime.block_on(async {
            let accepting = async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let Ok((client, _)) = listener.accept().await else {
                        sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    client.set_nodelay(true)?;
                    // A connection that ends in an error is what the faults are for.
                    tokio::spawn(serve(client));
                }
            };
            tokio::select! {
                failed = accepting => failed,
                _ = stopped => io::Result::Ok(()),
            }
        })
    })?;
    Ok(stop)
}

#[derive(Debug, Default)]
struct State {
    server: String,
    /// Faults of the next inserts.
    inserts: Mutex<VecDeque<RequestFault>>,
    /// What happens to the next requests, inserts or not.
    any_requests: Mutex<VecDeque<Option<RequestFault>>>,
    injected: Mutex<Vec<RequestFault>>,
    released: Notify,
    in_progress: AtomicUsize,
    drops_abandoned: AtomicBool,
    is_cut_off: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client's side of one connection.
struct ClientSide {
    /// Another handle of its socket.
    socket: OwnedFd,
    /// Closed when the client has disconnected.
    connected: oneshot::Sender<()>,
}

async fn serve(state: Arc<State>, client: TcpStream) -> io::Result<()> {
    let socket = client.as_fd().try_clone_to_owned()?;
    let service = service_fn(|request: Request<Incoming>| {
        let (state, socket) = (Arc::clone(&state), socket.try_clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            // Hyper drops this future when the client disconnects. The task goes on, and sees it by the receiver.
            let (connected, _receiver) = oneshot::channel();
            let client = ClientSide { socket: socket?, connected };
            let request = Request::from_parts(head, body);
            tokio::spawn(async move {
                state.in_progress.fetch_add(1, Ordering::Relaxed);
                let reply = state.reply(request, client).await;
                state.in_progress.fetch_sub(1, Ordering::Relaxed);
                reply
            })
            .await?
        }
    });
    let connection =
        server::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(client), service);
    connection.await.map_err(io::Error::other)
}

impl State {
    async fn reply(&self, request: Request<Bytes>, client: ClientSide) -> io::Result<Response<Full<Bytes>>> {
        let is_cut_off = || self.is_cut_off.load(Ordering::Relaxed);
        if is_cut_off() {
            return Err(disconnected());
        }
        let reply = match self.next_fault(&request) {
            None => self.forward(request).await?,
            Some(fault) => self.inject(fault, request, client).await?,
        };
        if is_cut_off() { Err(disconnected()) } else { Ok(reply) }
    }

    fn next_fault(&self, request: &Request<Bytes>) -> Option<RequestFault> {
        let of_any_request = lock(&self.any_requests).pop_front();
        of_any_request.unwrap_or_else(|| is_insert(request).then(|| lock(&self.inserts).pop_front())?)
    }

    async fn inject(
        &self,
        fault: RequestFault,
        request: Request<Bytes>,
        client: ClientSide,
    ) -> io::Result<Response<Full<Bytes>>> {
        let happens = || lock(&self.injected).push(fault);
        match fault {
            RequestFault::Delay(delay) => {
                happens();
                sleep(delay).await;
                if self.drops_abandoned.load(Ordering::Relaxed) && client.connected.is_closed() {
                    return Err(disconnected());
                }
                self.forward(request).await
            }
            RequestFault::Held => {
                let released = self.released.notified();
                happens();
                released.await;
                self.forward(request).await
            }
            RequestFault::LostReply => {
                let reply = self.forward(request).await?;
                if !reply.status().is_success() {
                    return Ok(reply);
                }
                happens();
                Err(disconnected())
            }
            RequestFault::Reset => {
                happens();
                self.reset(request, &client).await?;
                Err(disconnected())
            }
            RequestFault::HttpError { status, executed } => {
                if executed {
                    self.forward(request).await?;
                }
                happens();
                let body = format!("<html><body><h1>{status}</h1></body></html>\n");
                response(status, &[(CONTENT_TYPE.as_str(), "text/html")], body)
            }
            RequestFault::TooManyParts => {
                happens();
                let headers = [
                    (CONTENT_TYPE.as_str(), "text/plain; charset=UTF-8"),
                    ("X-ClickHouse-Exception-Code", "252"),
                ];
                response(500, &headers, TOO_MANY_PARTS.to_owned())
            }
        }
    }

    async fn forward(&self, request: Request<Bytes>) -> io::Result<Response<Full<Bytes>>> {
        let exchange = async {
            let (mut sender, connection) = handshake(self.connect().await?).await?;
            tokio::spawn(connection);
            let reply = sender.send_request(request.map(Full::new)).await.map_err(io::Error::other)?;
            let (mut head, body) = reply.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            head.headers.remove(TRANSFER_ENCODING);
            Ok(Response::from_parts(head, Full::new(body)))
        };
        timeout(REPLY_TIMEOUT, exchange).await?
    }

    /// Sends half of the body to the server, and lets both connections end in a reset.
    async fn reset(&self, request: Request<Bytes>, client: &ClientSide) -> io::Result<()> {
        let server = self.connect().await?;
        set_socket_linger(&server, Some(Duration::ZERO))?;
        set_socket_linger(&client.socket, Some(Duration::ZERO))?;
        let (mut sender, connection) = handshake(server).await?;
        let (mut body, channel) = Channel::<Bytes>::new(1);
        let half = request.body().slice(..request.body().len() / 2);
        tokio::select! {
            _ = connection => (),
            _ = sender.send_request(request.map(|_| channel)) => (),
            () = async {
                let _ = body.send_data(half).await;
                sleep(HALF_SENT).await;
            } => (),
        }
        Ok(())
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let server = TcpStream::connect(&self.server).await?;
        server.set_nodelay(true)?;
        Ok(server)
    }
}

type ServerConnection<B> = client::Connection<TokioIo<TcpStream>, B>;

async fn handshake<B>(server: TcpStream) -> io::Result<(SendRequest<B>, ServerConnection<B>)>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    client::handshake(TokioIo::new(server)).await.map_err(io::Error::other)
}

fn response(status: u16, headers: &[(&str, &str)], body: String) -> io::Result<Response<Full<Bytes>>> {
    let builder = headers
        .iter()
        .fold(Response::builder().status(status), |builder, (name, value)| builder.header(*name, *value));
    builder.body(Full::from(body)).map_err(io::Error::other)
}

/// Makes hyper close the client's connection without a reply.
fn disconnected() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// Inserts name their table in the URL; their rows are the body.
fn is_insert(request: &Request<Bytes>) -> bool {
    let query = request.uri().query().unwrap_or_default().to_ascii_uppercase();
    request.method() == Method::POST && query.contains("QUERY=INSERT")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        sync::mpsc,
    };

    use super::*;

    const REPLY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const INSERT: &str = "POST /?query=INSERT+INTO+t HTTP/1.1\r\ncontent-length: 8\r\n\r\n12345678";
    const SELECT: &str = "POST /?database=d HTTP/1.1\r\ncontent-length: 8\r\n\r\nSELECT 1";

    /// A server that answers each request with [`REPLY`] and reports what arrived on each connection until it closed.
    fn server() -> (String, mpsc::Receiver<String>) {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, arrived) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (mut connection, sender) = (connection.unwrap(), sender.clone());
                thread::spawn(move || {
                    let mut seen = Vec::new();
                    let mut buffer = [0; 1024];
                    while let Ok(bytes @ 1..) = connection.read(&mut buffer) {
                        seen.extend_from_slice(&buffer[..bytes]);
                        if seen.ends_with(b"12345678") || seen.ends_with(b"SELECT 1") {
                            connection.write_all(REPLY.as_bytes()).unwrap();
                        }
                    }
                    sender.send(String::from_utf8(seen).unwrap()).unwrap();
                });
            }
        });
        (url, arrived)
    }

    /// Everything that comes back for `request` until the connection closes or a whole reply is there.
    fn ask(proxy: &Proxy, request: &str) -> io::Result<String> {
        let mut client = TcpStream::connect(proxy.address)?;
        client.write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        let mut buffer = [0; 4096];
        while !reply.ends_with(b"\r\n\r\nok") {
            match client.read(&mut buffer)? {
                0 => break,
                bytes => reply.extend_from_slice(&buffer[..bytes]),
            }
            let text = String::from_utf8_lossy(&reply);
            if text.contains("</html>") || text.contains("build))") {
                break;
            }
        }
        Ok(String::from_utf8(reply).unwrap())
    }

    fn arrived(arrived: &mpsc::Receiver<String>) -> Option<String> {
        arrived.recv_timeout(Duration::from_secs(60)).ok()
    }

    #[test]
    fn without_faults_requests_and_replies_pass_unchanged() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        for request in [INSERT, SELECT] {
            assert_eq!(ask(&proxy, request).unwrap(), REPLY);
            assert_eq!(arrived(&seen).unwrap(), request);
        }
        assert_eq!(proxy.injected(), []);
    }

    #[test]
    fn a_reply_is_lost_after_the_server_got_the_whole_insert_and_only_as_often_as_ordered() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(RequestFault::LostReply, 1);
        // Only inserts have faults.
        assert_eq!(ask(&proxy, SELECT).unwrap(), REPLY);
        assert_eq!(arrived(&seen).unwrap(), SELECT);
        assert_eq!(ask(&proxy, INSERT).unwrap(), "");
        assert_eq!(arrived(&seen).unwrap(), INSERT);
        assert_eq!(ask(&proxy, INSERT).unwrap(), REPLY);
        assert_eq!(proxy.injected(), [RequestFault::LostReply]);
    }

    #[test]
    fn a_fault_of_any_request_comes_after_those_that_are_skipped() {
        let (url, _seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order_for_any_request(1, RequestFault::LostReply, 1);
        assert_eq!(ask(&proxy, SELECT).unwrap(), REPLY);
        assert_eq!(proxy.pending(), 1);
        assert_eq!(ask(&proxy, SELECT).unwrap(), "");
        assert_eq!(proxy.pending(), 0);
        assert_eq!(ask(&proxy, SELECT).unwrap(), REPLY);
    }

    #[test]
    fn a_reset_lets_half_of_the_body_through() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(RequestFault::Reset, 1);
        assert_eq!(ask(&proxy, INSERT).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let seen = arrived(&seen).unwrap();
        assert!(INSERT.starts_with(&seen) && !seen.ends_with("12345678"), "{seen}");
        assert_eq!(proxy.injected(), [RequestFault::Reset]);
    }

    #[test]
    fn errors_look_like_the_servers_own_and_reach_it_only_when_they_are_executed() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(RequestFault::TooManyParts, 1);
        let reply = ask(&proxy, INSERT).unwrap();
        for part in
            ["HTTP/1.1 500 ", "x-clickhouse-exception-code: 252", "Code: 252. DB::Exception: Too many"]
        {
            assert!(reply.contains(part), "{reply}");
        }
        proxy.order(RequestFault::HttpError { status: 503, executed: false }, 1);
        assert!(ask(&proxy, INSERT).unwrap().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "it was forwarded");
        proxy.order(RequestFault::HttpError { status: 500, executed: true }, 1);
        assert!(ask(&proxy, INSERT).unwrap().starts_with("HTTP/1.1 500 "));
        assert_eq!(arrived(&seen).unwrap(), INSERT);
        assert_eq!(proxy.injected().len(), 3);
    }

    #[test]
    fn a_delayed_insert_of_a_client_that_has_gone_is_executed_unless_abandoned_ones_are_dropped() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        for (drops, is_executed) in [(false, true), (true, false)] {
            proxy.drop_abandoned(drops);
            proxy.order(RequestFault::Delay(Duration::from_secs(1)), 1);
            let mut client = TcpStream::connect(proxy.address).unwrap();
            client.write_all(INSERT.as_bytes()).unwrap();
            while proxy.pending() > 0 {
                thread::sleep(Duration::from_millis(1));
            }
            drop(client);
            let timeout = if is_executed { Duration::from_secs(60) } else { Duration::from_secs(3) };
            assert_eq!(seen.recv_timeout(timeout).is_ok(), is_executed, "drops abandoned: {drops}");
        }
    }

    #[test]
    fn a_held_insert_is_executed_when_it_is_released_although_its_client_has_gone() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(RequestFault::Held, 1);
        let mut client = TcpStream::connect(proxy.address).unwrap();
        client.write_all(INSERT.as_bytes()).unwrap();
        while proxy.injected().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(client);
        assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "it was forwarded");
        proxy.release();
        assert_eq!(arrived(&seen).unwrap(), INSERT);
        while proxy.in_progress() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_fault_that_is_cancelled_does_not_happen() {
        let (url, _seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(RequestFault::LostReply, 3);
        proxy.cancel();
        assert_eq!(ask(&proxy, INSERT).unwrap(), REPLY);
    }

    #[test]
    fn nothing_passes_while_the_server_is_cut_off() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.cut_off(true);
        assert_eq!(ask(&proxy, SELECT).unwrap(), "");
        proxy.cut_off(false);
        assert_eq!(ask(&proxy, SELECT).unwrap(), REPLY);
        assert_eq!(arrived(&seen).unwrap(), SELECT);
        assert!(seen.try_recv().is_err(), "a request passed");
    }

    #[test]
    fn tcp_bytes_pass_unchanged() {
        let (url, seen) = server();
        let free = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let _forward = TcpForward::start(&free, url.trim_start_matches("http://")).unwrap();
        let mut client = TcpStream::connect(free).unwrap();
        client.write_all(SELECT.as_bytes()).unwrap();
        let mut reply = [0; REPLY.len()];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, REPLY.as_bytes());
        drop(client);
        assert_eq!(arrived(&seen).unwrap(), SELECT);
    }
}
