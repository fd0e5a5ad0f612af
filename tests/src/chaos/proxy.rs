//! Stands between aggregate and ClickHouse and passes requests on one by one, except those that meet trouble.
//!
//! A request is read whole before it is passed on, and its answer is read whole before it goes back: only so can an
//! answer be lost after the insert was executed, and never half before.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    http::{Message, Side},
    schedule::{Kind, Trouble},
};

/// How long the server may take for one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// A running proxy; it ends when this value is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    /// What the next inserts meet, first one first.
    orders: Mutex<VecDeque<Trouble>>,
    met: Mutex<BTreeMap<Kind, u64>>,
    drops_abandoned: AtomicBool,
    closed: AtomicBool,
}

impl Proxy {
    /// Starts a proxy for the server at `url`, `http://host:port`.
    pub fn start(url: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: url.trim_start_matches("http://").trim_end_matches('/').to_owned(),
            orders: Mutex::default(),
            met: Mutex::default(),
            drops_abandoned: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let connections = Arc::clone(&shared);
        thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if connections.closed.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&connections)) else { continue };
                // A connection that ends in an error is what a proxy of this kind is for.
                thread::spawn(move || shared.serve(client));
            }
        })?;
        Ok(Self { address, shared })
    }

    /// What clients use instead of the server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the next `requests` inserts meet trouble, after those that are already ordered.
    pub fn order(&self, trouble: Trouble, requests: usize) {
        lock(&self.shared.orders).extend(std::iter::repeat_n(trouble, requests));
    }

    /// Forgets what was ordered and not met yet.
    pub fn cancel(&self) {
        lock(&self.shared.orders).clear();
    }

    /// Whether a delayed request is thrown away when its client has gone meanwhile. Else it is passed on, and the
    /// server executes an insert whose sender is long dead.
    pub fn drop_abandoned(&self, drops: bool) {
        self.shared.drops_abandoned.store(drops, Ordering::Relaxed);
    }

    /// How many requests met trouble, by kind.
    pub fn met(&self) -> BTreeMap<Kind, u64> {
        lock(&self.shared.met).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Wakes the listener; if that fails it ends with this process.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut requests = BufReader::new(client.try_clone()?);
        while let Some(request) = Message::read(&mut requests, Side::Request)? {
            if self.closed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let trouble = if is_insert(&request) { lock(&self.orders).pop_front() } else { None };
            match trouble {
                None => answer(&client, &self.ask(&request)?)?,
                Some(trouble) => self.pass_with_trouble(&request, &client, trouble)?,
            }
        }
        Ok(())
    }

    fn pass_with_trouble(&self, request: &Message, client: &TcpStream, trouble: Trouble) -> io::Result<()> {
        match trouble {
            Trouble::Delay(delay) => {
                self.count(Kind::Delay);
                thread::sleep(delay);
                if self.drops_abandoned.load(Ordering::Relaxed) && is_gone(client) {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                answer(client, &self.ask(request)?)
            }
            Trouble::LostReply => {
                let reply = self.ask(request)?;
                // An insert that the server refused was not executed: nothing worth losing.
                if !is_ok(&reply) {
                    return answer(client, &reply);
                }
                self.count(Kind::LostReply);
                client.shutdown(Shutdown::Both)?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Trouble::Reset => {
                let mut server = self.connect()?;
                server.write_all(&request.head)?;
                let half = request.body.len() / 2;
                server.write_all(request.body.get(..half).unwrap_or_default())?;
                self.count(Kind::Reset);
                for connection in [&server, client] {
                    rustix::net::sockopt::set_socket_linger(connection, Some(Duration::ZERO))?;
                }
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Trouble::HttpError { status, executed } => {
                if executed {
                    self.ask(request)?;
                }
                self.count(Kind::HttpErrors);
                let reason = if status == 503 { "Service Unavailable" } else { "Internal Server Error" };
                let body = format!("<html><body><h1>{status} {reason}</h1></body></html>\n");
                refuse(client, status, reason, "Content-Type: text/html\r\n", &body)
            }
            Trouble::TooManyParts => {
                self.count(Kind::TooManyParts);
                let headers =
                    "Content-Type: text/plain; charset=UTF-8\r\nX-ClickHouse-Exception-Code: 252\r\n";
                refuse(client, 500, "Internal Server Error", headers, TOO_MANY_PARTS)
            }
        }
    }

    fn ask(&self, request: &Message) -> io::Result<Message> {
        let mut server = self.connect()?;
        server.write_all(&request.head)?;
        server.write_all(&request.body)?;
        let reply = Message::read(&mut BufReader::new(server), Side::Answer)?;
        reply.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let server = TcpStream::connect(&self.server)?;
        server.set_nodelay(true)?;
        server.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(server)
    }

    fn count(&self, kind: Kind) {
        *lock(&self.met).entry(kind).or_default() += 1;
    }
}

const TOO_MANY_PARTS: &str = "Code: 252. DB::Exception: Too many parts (3001 with average size of 12.00 KiB) in table \
    'chaos'. Merges are processing significantly slower than inserts. (TOO_MANY_PARTS) (version 26.7.1.1 (official \
    build))\n";

/// Inserts name their table in the URL; their rows are the body.
fn is_insert(request: &Message) -> bool {
    let line = request.start_line();
    line.starts_with("POST ") && line.to_ascii_uppercase().contains("QUERY=INSERT")
}

fn is_ok(reply: &Message) -> bool {
    reply.start_line().split(' ').nth(1) == Some("200")
}

/// Whether the other side has closed. Bytes of a next request would say it has not.
fn is_gone(client: &TcpStream) -> bool {
    let look = || -> io::Result<usize> {
        client.set_nonblocking(true)?;
        let seen = client.peek(&mut [0]);
        client.set_nonblocking(false)?;
        seen
    };
    match look() {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn answer(mut client: &TcpStream, reply: &Message) -> io::Result<()> {
    client.write_all(&reply.head)?;
    client.write_all(&reply.body)
}

fn refuse(mut client: &TcpStream, status: u16, reason: &str, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(client, "HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::mpsc};

    use super::*;

    const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const INSERT: &str = "POST /?query=INSERT+INTO+t HTTP/1.1\r\nContent-Length: 8\r\n\r\n12345678";
    const SELECT: &str = "POST /?database=d HTTP/1.1\r\nContent-Length: 8\r\n\r\nSELECT 1";

    /// A server that answers each request with [`REPLY`] and tells what arrived on each connection until it closed.
    fn server() -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

    /// Everything that comes back for `request` until the connection closes or nothing more comes.
    fn ask(proxy: &Proxy, request: &str) -> io::Result<String> {
        let mut client = TcpStream::connect(proxy.address)?;
        client.set_read_timeout(Some(Duration::from_millis(500)))?;
        client.write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        match client.read_to_end(&mut reply) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(String::from_utf8(reply).unwrap()),
        }
    }

    fn arrived(arrived: &mpsc::Receiver<String>) -> Option<String> {
        arrived.recv_timeout(Duration::from_secs(5)).ok()
    }

    #[test]
    fn without_orders_bytes_pass_unchanged_both_ways() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        for request in [INSERT, SELECT] {
            assert_eq!(ask(&proxy, request).unwrap(), REPLY);
            assert_eq!(arrived(&seen).unwrap(), request);
        }
        assert!(proxy.met().is_empty());
    }

    #[test]
    fn a_reply_is_lost_after_the_server_got_the_whole_insert_and_only_as_often_as_ordered() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(Trouble::LostReply, 1);
        // Questions pass: only inserts meet trouble.
        assert_eq!(ask(&proxy, SELECT).unwrap(), REPLY);
        assert_eq!(arrived(&seen).unwrap(), SELECT);
        assert_eq!(ask(&proxy, INSERT).unwrap(), "");
        assert_eq!(arrived(&seen).unwrap(), INSERT);
        assert_eq!(ask(&proxy, INSERT).unwrap(), REPLY);
        assert_eq!(proxy.met(), BTreeMap::from([(Kind::LostReply, 1)]));
    }

    #[test]
    fn a_reset_lets_half_of_the_body_through() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(Trouble::Reset, 1);
        assert_eq!(ask(&proxy, INSERT).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let seen = arrived(&seen).unwrap();
        assert!(INSERT.starts_with(&seen) && !seen.ends_with("12345678"), "{seen}");
        assert_eq!(proxy.met(), BTreeMap::from([(Kind::Reset, 1)]));
    }

    #[test]
    fn refusals_look_like_the_servers_own_and_reach_it_only_when_told_so() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(Trouble::TooManyParts, 1);
        let refused = ask(&proxy, INSERT).unwrap();
        for part in
            ["HTTP/1.1 500 ", "X-ClickHouse-Exception-Code: 252", "Code: 252. DB::Exception: Too many"]
        {
            assert!(refused.contains(part), "{refused}");
        }
        proxy.order(Trouble::HttpError { status: 503, executed: false }, 1);
        assert!(ask(&proxy, INSERT).unwrap().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "it was passed on");
        proxy.order(Trouble::HttpError { status: 500, executed: true }, 1);
        assert!(ask(&proxy, INSERT).unwrap().starts_with("HTTP/1.1 500 "));
        assert_eq!(arrived(&seen).unwrap(), INSERT);
        assert_eq!(proxy.met(), BTreeMap::from([(Kind::TooManyParts, 1), (Kind::HttpErrors, 2)]));
    }

    #[test]
    fn a_delayed_insert_of_a_dead_client_is_executed_unless_abandoned_ones_are_dropped() {
        let (url, seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        for (drops, is_executed) in [(false, true), (true, false)] {
            proxy.drop_abandoned(drops);
            proxy.order(Trouble::Delay(Duration::from_millis(300)), 1);
            let mut client = TcpStream::connect(proxy.address).unwrap();
            client.write_all(INSERT.as_bytes()).unwrap();
            drop(client);
            let executed = seen.recv_timeout(Duration::from_millis(900)).is_ok();
            assert_eq!(executed, is_executed, "drops abandoned: {drops}");
        }
    }

    #[test]
    fn what_is_cancelled_is_not_met() {
        let (url, _seen) = server();
        let proxy = Proxy::start(&url).unwrap();
        proxy.order(Trouble::LostReply, 3);
        proxy.cancel();
        assert_eq!(ask(&proxy, INSERT).unwrap(), REPLY);
    }
}
