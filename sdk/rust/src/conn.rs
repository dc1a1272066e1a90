use crate::abi;
use crate::host::{milliseconds, result, text};
use crate::Code;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::time::Duration;

/// How many bytes [`Conn::write`] queues for one connection, unless [`Conn::set_write_limit`] says
/// otherwise.
pub const DEFAULT_WRITE_LIMIT: usize = 64 << 10;

/// A connection: a number by which the host knows it. It may be kept and copied. Once
/// [`Handler::closed`](crate::Handler::closed) was called for it, its functions answer
/// [`Code::BadHandle`] or do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn(i32);

/// What the crate keeps of a connection.
pub(crate) struct Kept {
    queue: Vec<u8>,
    sent: usize, // of the queue
    limit: usize,
    last: Option<i32>, // what control is told when the queue is empty
    left: Vec<u8>,     // what data was given last and has not used, for the end
    dialled: bool,
    messages: Option<bool>, // each send is one: so in the queue, behind its length; None: not known yet
}

/// How many bytes the length of a message takes in a queue.
const MARK: usize = 4;

impl Kept {
    fn waiting(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// How many bytes stand before each message in the queue: none where they are a stream.
    fn mark(&mut self, c: Conn) -> usize {
        if *self.messages.get_or_insert_with(|| matches!(c.transport().as_str(), "udp" | "ws")) {
            MARK
        } else {
            0
        }
    }
}

/// A guest has one thread, and this crate calls nothing of the handler while it holds the table.
struct Table(UnsafeCell<Option<BTreeMap<i32, Kept>>>);
unsafe impl Sync for Table {}
static TABLE: Table = Table(UnsafeCell::new(None));

#[allow(clippy::mut_from_ref)]
fn table() -> &'static mut BTreeMap<i32, Kept> {
    unsafe { &mut *TABLE.0.get() }.get_or_insert_with(BTreeMap::new)
}

/// What is kept of a connection that is not over.
fn kept(c: Conn) -> Result<&'static mut Kept, Code> {
    table().get_mut(&c.0).ok_or(Code::BadHandle)
}

/// Starts to dial an address that the tenant may: `tcp://host:port`, `tls://host:port`,
/// `udp://host:port` or `unix:///path`. [`Handler::open`](crate::Handler::open) is called when it is
/// up, or [`Handler::closed`](crate::Handler::closed) alone when that fails.
pub fn connect(address: &str) -> Result<Conn, Code> {
    let c = Conn(result(unsafe { abi::connect(address.as_ptr(), address.len() as i32) })? as i32);
    c.begin(true);
    kept(c)?.messages = Some(address.starts_with("udp:"));
    Ok(c)
}

impl Conn {
    /// The connection of a handle, as the host says it.
    #[doc(hidden)]
    pub fn of(handle: i32) -> Conn {
        Conn(handle)
    }

    /// The number by which the host knows it, which logs have too.
    pub fn handle(self) -> i32 {
        self.0
    }

    /// Whether [`connect`] has made it.
    pub fn dialled(self) -> bool {
        kept(self).map_or(false, |k| k.dialled)
    }

    /// Sends all of the bytes: what the inbox has no room for is queued and sent later. It takes
    /// all or nothing. [`Code::Quota`]: the queue would grow beyond the write limit, since the peer
    /// takes less than it is sent; or the tenant has no memory left for it. [`Code::Closed`]: no more
    /// can be sent.
    ///
    /// Over WebSocket and UDP each `write` is one message, also where it has to wait. In the queue a
    /// message takes [`Conn::queued`] 4 bytes more.
    pub fn write(self, bytes: &[u8]) -> Result<(), Code> {
        let k = kept(self)?;
        if k.last.is_some() {
            return Err(Code::Closed);
        }
        let waiting = k.waiting();
        if waiting + bytes.len() > k.limit {
            return Err(Code::Quota);
        }
        let mut rest = bytes;
        while waiting == 0 {
            // A short answer is asked again: AGAIN promises that room is told of.
            match self.send(rest) {
                Ok(n) => rest = &rest[n..],
                Err(Code::Again) => break,
                Err(e) => return Err(e),
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
        let mark = k.mark(self);
        if waiting > 0 && waiting + mark + rest.len() > k.limit {
            return Err(Code::Quota);
        }
        if k.sent > waiting {
            k.queue.drain(..k.sent); // what is sent takes no room for long
            k.sent = 0;
        }
        if k.queue.try_reserve(mark + rest.len()).is_err() {
            if rest.len() < bytes.len() {
                self.abort(); // some of it is sent
            }
            return Err(Code::Quota);
        }
        if mark > 0 {
            k.queue.extend_from_slice(&(rest.len() as u32).to_le_bytes());
        }
        k.queue.extend_from_slice(rest);
        Ok(())
    }

    /// How many bytes at most [`Conn::write`] queues; 0 means [`DEFAULT_WRITE_LIMIT`].
    pub fn set_write_limit(self, bytes: usize) {
        if let Ok(k) = kept(self) {
            k.limit = if bytes == 0 { DEFAULT_WRITE_LIMIT } else { bytes };
        }
    }

    /// How many bytes `write` has queued and the inbox has not taken yet.
    pub fn queued(self) -> usize {
        kept(self).map_or(0, |k| k.waiting())
    }

    /// Sends what the inbox has room for, and answers how much that was. The other bytes are the
    /// caller's. [`Code::Again`]: there was no room at all;
    /// [`Handler::writable`](crate::Handler::writable) says when there is. Over UDP the bytes are
    /// one datagram, taken whole or not at all. Not while [`Conn::queued`] is above 0.
    #[must_use = "bytes that were not taken are lost"]
    pub fn send(self, bytes: &[u8]) -> Result<usize, Code> {
        result(unsafe { abi::send(self.0, bytes.as_ptr(), bytes.len() as i32) })
    }

    /// Sends what is queued, and then closes the connection.
    pub fn close(self) {
        self.finish(abi::PRODUCER_FINISHED);
    }

    /// Sends what is queued, and then tells the peer that no more comes. Receiving goes on.
    pub fn finish_sending(self) {
        self.finish(abi::FINISH_SENDING);
    }

    fn finish(self, what: i32) {
        match kept(self) {
            Ok(k) if k.waiting() > 0 => k.last = Some(what),
            _ => {
                unsafe { abi::control(self.0, what) };
            }
        }
    }

    /// Closes the connection now, and drops what is not sent yet.
    pub fn abort(self) {
        unsafe { abi::control(self.0, abi::SHUTDOWN_MICROPROCESS) };
    }

    /// Makes the peer wait: no bytes come until [`Conn::resume`].
    pub fn pause(self) {
        unsafe { abi::receive(self.0, 0) };
    }

    /// Has bytes come again, those that were left first.
    pub fn resume(self) {
        unsafe { abi::receive(self.0, 1) };
    }

    /// Has no `data` come before so many bytes are there, or the peer has finished. It stays until it
    /// is changed; 1 is the beginning. [`Code::Invalid`]: more than the window of 64 KiB.
    pub fn want(self, bytes: usize) -> Result<(), Code> {
        let n = i32::try_from(bytes).map_err(|_| Code::Invalid)?;
        result(unsafe { abi::want(self.0, n) }).map(|_| ())
    }

    /// Has [`Handler::timer`](crate::Handler::timer) called once, with the token. A timer of the
    /// connection with the same token is moved; all end with it.
    pub fn set_timer(self, token: i32, after: Duration) -> Result<(), Code> {
        result(unsafe { abi::timer(self.0, token, milliseconds(after)) }).map(|_| ())
    }

    /// Takes a timer back. There need be none.
    pub fn clear_timer(self, token: i32) {
        unsafe { abi::timer(self.0, token, -1) };
    }

    /// Starts TLS with the peer as its client, with the listener's certificate. What was sent before
    /// leaves in the clear. In `data`, return right after it: bytes that are left would be taken for
    /// encrypted ones, and the host closes the connection.
    pub fn make_tls_server(self) -> Result<(), Code> {
        result(unsafe { abi::makessl(self.0, abi::TLS_SERVER, core::ptr::null(), 0) }).map(|_| ())
    }

    /// Starts TLS with the peer as its server, whose certificate must have the name.
    pub fn make_tls_client(self, name: &str) -> Result<(), Code> {
        result(unsafe { abi::makessl(self.0, abi::TLS_CLIENT, name.as_ptr(), name.len() as i32) }).map(|_| ())
    }

    /// Has the host relay all bytes between two connections from here on. Both are gone from the
    /// handler. [`Code::Again`]: something that `write` has queued waits still, or one is not up yet;
    /// try again in [`Handler::writable`](crate::Handler::writable).
    pub fn splice(self, other: Conn) -> Result<(), Code> {
        if self.queued() > 0 || other.queued() > 0 {
            return Err(Code::Again);
        }
        result(unsafe { abi::splice(self.0, other.0) })?;
        self.forget();
        other.forget();
        crate::exports::spliced(self, other);
        Ok(())
    }

    fn info(self, key: i32) -> String {
        text(|ptr, cap| unsafe { abi::info(self.0, key, ptr, cap) })
    }

    /// Sends what is queued, and answers whether nothing waits any more.
    pub(crate) fn flush(self) -> bool {
        let k = match kept(self) {
            Ok(k) => k,
            Err(_) => return true,
        };
        while k.sent < k.queue.len() {
            let mark = k.mark(self);
            let from = k.sent + mark;
            let mut to = k.queue.len();
            if mark > 0 {
                let mut len = [0; MARK];
                len.copy_from_slice(&k.queue[k.sent..from]);
                to = from + u32::from_le_bytes(len) as usize;
            }
            match self.send(&k.queue[from..to]) {
                Ok(n) if from + n == to => k.sent = to,
                Ok(n) => {
                    k.sent += n;
                    if mark > 0 {
                        // What is left is a message of its own.
                        k.queue[k.sent..from + n].copy_from_slice(&((to - from - n) as u32).to_le_bytes());
                    }
                }
                Err(Code::Again) => return false,
                Err(_) => {
                    k.last = Some(abi::SHUTDOWN_MICROPROCESS);
                    break;
                }
            }
        }
        k.queue.clear();
        k.sent = 0;
        match k.last.take() {
            Some(what) => {
                unsafe { abi::control(self.0, what) };
                false
            }
            None => true,
        }
    }

    /// Keeps what `data` has not used, in place of what it had not used before. There is no memory
    /// for it: [`Code::Quota`].
    pub(crate) fn leave(self, bytes: &[u8]) -> Result<(), Code> {
        let k = match kept(self) {
            Ok(k) => k,
            Err(_) => return Ok(()),
        };
        if bytes.is_empty() {
            k.left = Vec::new();
            return Ok(());
        }
        k.left.clear();
        k.left.try_reserve(bytes.len()).map_err(|_| Code::Quota)?;
        k.left.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes what `data` has not used.
    pub(crate) fn left(self) -> Vec<u8> {
        kept(self).map_or(Vec::new(), |k| core::mem::take(&mut k.left))
    }

    /// Keeps a queue for the connection from now on.
    pub(crate) fn begin(self, dialled: bool) {
        table().entry(self.0).or_insert_with(|| Kept { queue: Vec::new(), sent: 0, limit: DEFAULT_WRITE_LIMIT, last: None, left: Vec::new(), dialled, messages: None });
    }

    pub(crate) fn forget(self) {
        table().remove(&self.0);
    }
}

/// Each is a text that the host knows about the connection; empty where there is no such thing.
macro_rules! infos {
    ($($(#[$doc:meta])* $name:ident = $key:ident;)*) => {
        impl Conn {
            $($(#[$doc])* pub fn $name(self) -> String {
                self.info(abi::$key)
            })*
        }
    };
}

infos! {
    /// The address of the peer: `ip:port`, or the path of a Unix socket, which may be empty.
    peer = INFO_PEER;
    /// The address that the peer has connected to, written likewise.
    local = INFO_LOCAL;
    /// The name of the listener, with `/` and the name of its route behind it where it took one.
    listener = INFO_LISTENER;
    /// The name of the tenant.
    tenant = INFO_TENANT;
    /// `tcp`, `unix`, `udp` or `ws` (WebSocket, with TLS or without).
    transport = INFO_TRANSPORT;
    /// The name that the TLS client has asked for.
    server_name = INFO_SERVER_NAME;
    /// The application protocol that both sides have agreed on.
    alpn = INFO_ALPN;
    /// `TLS 1.2` or `TLS 1.3`.
    tls_version = INFO_TLS_VERSION;
    /// The name of the cipher suite, as IANA writes it.
    cipher = INFO_CIPHER;
    /// The subject of the client's certificate, which the host has verified.
    client_subject = INFO_CLIENT_SUBJECT;
    /// The names that the client's certificate is made out to, a line each.
    client_names = INFO_CLIENT_NAMES;
    /// The SHA-256 of the client's certificate, in hex.
    client_fingerprint = INFO_CLIENT_FINGERPRINT;
    /// `yes` where [`Conn::make_tls_server`] would find a certificate.
    certificate = INFO_CERTIFICATE;
    /// Over WebSocket, `text` or `binary`: what the last message was of which bytes have come.
    message = INFO_MESSAGE;
    /// The path and query that the WebSocket client has asked for.
    target = INFO_TARGET;
    /// The origin of the page that the WebSocket client is in; empty for one that is no browser.
    origin = INFO_ORIGIN;
    /// The WebSocket subprotocol that both sides have agreed on.
    subprotocol = INFO_SUBPROTOCOL;
}
