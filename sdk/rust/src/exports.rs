//! What the host calls. The macro `handler` makes exports of these functions.

use crate::{abi, Code, Conn, Handler};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

const WINDOW: usize = 65536;

/// Where the host lays bytes that have come.
struct Window(UnsafeCell<[u8; WINDOW]>);
unsafe impl Sync for Window {}
static BYTES: Window = Window(UnsafeCell::new([0; WINDOW]));

/// Connections that a splice has taken, whose states are to be dropped after the callback.
struct Spliced(UnsafeCell<Vec<Conn>>);
unsafe impl Sync for Spliced {}
static SPLICED: Spliced = Spliced(UnsafeCell::new(Vec::new()));

pub(crate) fn spliced(a: Conn, b: Conn) {
    unsafe { &mut *SPLICED.0.get() }.extend([a, b]);
}

/// The handler, and the states of its connections. A guest has one thread, and callbacks never
/// overlap.
pub struct Instance<H: Handler>(UnsafeCell<Option<(H, BTreeMap<i32, H::State>)>>);
unsafe impl<H: Handler> Sync for Instance<H> {}

impl<H: Handler> Instance<H> {
    /// An instance that has not started.
    pub const fn new() -> Self {
        Instance(UnsafeCell::new(None))
    }

    #[allow(clippy::mut_from_ref)]
    fn both(&self) -> &mut (H, BTreeMap<i32, H::State>) {
        unsafe { &mut *self.0.get() }.get_or_insert_with(|| (H::default(), BTreeMap::new()))
    }

    fn with<R>(&self, handle: i32, f: impl FnOnce(&mut H, Conn, &mut H::State) -> R) -> R {
        let (handler, states) = self.both();
        let r = f(handler, Conn::of(handle), states.entry(handle).or_default());
        for c in unsafe { &mut *SPLICED.0.get() }.drain(..) {
            states.remove(&c.handle());
        }
        r
    }

    /// csa_start.
    pub fn start(&self) -> i32 {
        #[cfg(all(feature = "std", target_arch = "wasm32"))]
        std::panic::set_hook(std::boxed::Box::new(|info| crate::log(crate::LOG_ERROR, &std::string::ToString::to_string(info))));
        code(self.both().0.start(&crate::config()))
    }

    /// csa_reseed.
    pub fn reseed(&self) {
        self.both().0.reseed();
    }

    /// csa_open.
    pub fn open(&self, handle: i32) -> i32 {
        let c = Conn::of(handle);
        c.begin(false);
        c.flush();
        code(self.with(handle, |h, c, s| h.open(c, s)))
    }

    /// csa_data.
    pub fn data(&self, handle: i32, len: i32) -> i32 {
        if !Conn::of(handle).flush() {
            return 0;
        }
        let bytes = unsafe { core::slice::from_raw_parts(BYTES.0.get() as *const u8, (len as usize).min(WINDOW)) };
        let used = match self.with(handle, |h, c, s| h.data(c, s, bytes)) {
            Ok(n) => n,
            Err(Code::Again) => 0,
            Err(e) => return e as i32,
        };
        match Conn::of(handle).leave(bytes.get(used..).unwrap_or_default()) {
            Ok(()) => i32::try_from(used).unwrap_or(i32::MAX),
            Err(e) => e as i32,
        }
    }

    /// csa_writable.
    pub fn writable(&self, handle: i32) {
        if Conn::of(handle).flush() {
            self.with(handle, |h, c, s| h.writable(c, s));
        }
    }

    /// csa_secured.
    pub fn secured(&self, handle: i32, status: i32) {
        if status == 0 {
            Conn::of(handle).flush();
        }
        self.with(handle, |h, c, s| h.secured(c, s, reason(status)));
    }

    /// csa_eof.
    pub fn eof(&self, handle: i32) {
        let left = Conn::of(handle).left();
        if !left.is_empty() {
            self.with(handle, |h, c, s| h.rest(c, s, &left));
        }
        self.with(handle, |h, c, s| h.eof(c, s));
    }

    /// csa_closed.
    pub fn closed(&self, handle: i32, why: i32) {
        let (handler, states) = self.both();
        let state = states.remove(&handle).unwrap_or_default();
        let c = Conn::of(handle);
        handler.closed(c, state, reason(why));
        c.forget();
    }

    /// csa_timer.
    pub fn timer(&self, handle: i32, token: i32) {
        if handle < 0 {
            self.both().0.instance_timer(token);
        } else {
            self.with(handle, |h, c, s| h.timer(c, s, token));
        }
    }

    /// csa_stop.
    pub fn stop(&self) {
        self.both().0.stop();
    }
}

impl<H: Handler> Default for Instance<H> {
    fn default() -> Self {
        Self::new()
    }
}

fn code(r: Result<(), Code>) -> i32 {
    r.map_or_else(|e| e as i32, |()| 0)
}

fn reason(status: i32) -> Result<(), Code> {
    if status < 0 {
        Err(Code::of(status))
    } else {
        Ok(())
    }
}

/// csa_window.
pub fn window() -> i64 {
    debug_assert!(WINDOW <= abi::MAX_WINDOW as usize);
    (BYTES.0.get() as usize as i64) << 32 | WINDOW as i64
}

/// Says that the handler keeps the state of one connection in static variables: a listener whose
/// connections share instances refuses it. Once, at the top level of the crate. State in
/// [`Handler::State`](crate::Handler::State) needs no such thing.
#[macro_export]
macro_rules! one_connection {
    () => {
        #[no_mangle]
        pub extern "C" fn csa_one_connection() {}
    };
}

/// Exports a type that is a [`Handler`](crate::Handler): once, at the top level of the crate.
#[macro_export]
macro_rules! handler {
    ($handler:ty) => {
        static BULKHEAD: $crate::exports::Instance<$handler> = $crate::exports::Instance::new();
        #[no_mangle]
        pub extern "C" fn csa_window() -> i64 {
            $crate::exports::window()
        }
        #[no_mangle]
        pub extern "C" fn csa_start() -> i32 {
            BULKHEAD.start()
        }
        #[no_mangle]
        pub extern "C" fn csa_reseed() {
            BULKHEAD.reseed()
        }
        #[no_mangle]
        pub extern "C" fn csa_open(conn: i32) -> i32 {
            BULKHEAD.open(conn)
        }
        #[no_mangle]
        pub extern "C" fn csa_data(conn: i32, len: i32) -> i32 {
            BULKHEAD.data(conn, len)
        }
        #[no_mangle]
        pub extern "C" fn csa_writable(conn: i32) {
            BULKHEAD.writable(conn)
        }
        #[no_mangle]
        pub extern "C" fn csa_secured(conn: i32, status: i32) {
            BULKHEAD.secured(conn, status)
        }
        #[no_mangle]
        pub extern "C" fn csa_eof(conn: i32) {
            BULKHEAD.eof(conn)
        }
        #[no_mangle]
        pub extern "C" fn csa_closed(conn: i32, reason: i32) {
            BULKHEAD.closed(conn, reason)
        }
        #[no_mangle]
        pub extern "C" fn csa_timer(conn: i32, token: i32) {
            BULKHEAD.timer(conn, token)
        }
        #[no_mangle]
        pub extern "C" fn csa_stop() {
            BULKHEAD.stop()
        }
    };
}
