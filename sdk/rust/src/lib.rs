//! Handlers for Bulkhead in Rust. A handler is a type with callbacks, and a state of each of its
//! connections. This one answers each line with itself:
//!
//! ```no_run
//! use bulkhead::{framing, handler, Code, Conn, Handler};
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type State = ();
//!
//!     fn data(&mut self, c: Conn, _: &mut (), bytes: &[u8]) -> Result<usize, Code> {
//!         let mut done = 0;
//!         while let Some((line, used)) = framing::line(&bytes[done..], 1000)? {
//!             c.write(&[line, b"\r\n"].concat())?;
//!             done += used;
//!         }
//!         Ok(done)
//!     }
//! }
//!
//! handler!(Echo);
//! ```
//!
//! The host calls one callback at a time, and waits for it: the other connections of the instance
//! wait, too. There are no threads. A panic ends the instance with all its connections, and its
//! text and line go to the tenant's log.
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

pub mod abi;
mod conn;
#[doc(hidden)]
pub mod exports;
pub mod framing;
mod host;
mod json;

pub use abi::{Code, LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_WARN, MAX_TIMERS};
pub use conn::{connect, Conn, DEFAULT_WRITE_LIMIT};
pub use host::{clear_timer, config, count, log, monotonic, now, random, set_timer};
pub use json::Json;

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Code {}

/// A protocol. One value of the type is made for each instance; how many connections share that is
/// the listener's `instance`. What belongs to one connection is its `State`.
///
/// For one connection the calls are `open`, then `data`, `writable`, `secured` and `timer` in any
/// order, then `rest` and `eof` at most once, then `closed`. For one that [`connect`] has begun and
/// that never came up it is `closed` alone. After [`Conn::splice`] nothing is called for either.
#[allow(unused_variables)]
pub trait Handler: Default + 'static {
    /// What the handler keeps of one connection. It is made before the first call for that.
    type State: Default;

    /// The instance has started, and no connection is there yet. `config` is the listener's
    /// `[listener.config]` as JSON, which [`Json`] reads. An error refuses to start: `bulkhead check`
    /// reports it.
    fn start(&mut self, config: &str) -> Result<(), Code> {
        Ok(())
    }

    /// The instance is a copy of one that has started. Draw again what `start` has drawn at random.
    fn reseed(&mut self) {}

    /// A connection was accepted, or one that [`connect`] has begun is up. An error closes it at
    /// once: [`Code::Refused`] is the one for a connection that is not wanted.
    fn open(&mut self, c: Conn, state: &mut Self::State) -> Result<(), Code> {
        Ok(())
    }

    /// Bytes have come, at least one (over UDP a datagram, which may be empty). It answers how many
    /// of them, from the first, it is done with. The others come again, with more behind them: so
    /// half a message is left there by `Ok(0)`. An error closes the connection at once, with what is
    /// not sent yet; [`Code::Again`] is none, and leaves all bytes there.
    ///
    /// While bytes that [`Conn::write`] has queued wait, no `data` comes for the connection: a peer
    /// that does not read its answers is not served further.
    fn data(&mut self, c: Conn, state: &mut Self::State, bytes: &[u8]) -> Result<usize, Code>;

    /// The peer has finished sending, and these bytes, one at least, are what `data` has left: half a
    /// message, or a line without its end. `eof` follows. Without this they are dropped. It is never
    /// called over UDP, and neither is `eof`.
    fn rest(&mut self, c: Conn, state: &mut Self::State, bytes: &[u8]) {}

    /// The peer has finished sending. The connection stays until the handler closes it, as this does.
    fn eof(&mut self, c: Conn, state: &mut Self::State) {
        c.close();
    }

    /// All that `write` has queued is sent, and there is room for more.
    fn writable(&mut self, c: Conn, state: &mut Self::State) {}

    /// The handshake of [`Conn::make_tls`] is over.
    fn secured(&mut self, c: Conn, state: &mut Self::State, result: Result<(), Code>) {}

    /// A timer of [`Conn::set_timer`] has fired, and is gone.
    fn timer(&mut self, c: Conn, state: &mut Self::State, token: i32) {}

    /// A timer of [`set_timer`] has fired: the instance's own.
    fn instance_timer(&mut self, token: i32) {}

    /// The connection is gone, and nothing can be sent on it. The reason is an error unless its end
    /// was an orderly one.
    fn closed(&mut self, c: Conn, state: Self::State, reason: Result<(), Code>) {}

    /// The host drains, or a reload has replaced this handler: no new connection comes, and what is
    /// open has some time left.
    fn stop(&mut self) {}
}
