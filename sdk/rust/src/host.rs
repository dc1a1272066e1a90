use crate::abi;
use crate::Code;
use alloc::string::String;
use alloc::vec;
use core::time::Duration;

/// The result of a host function: a count, or a code below 0.
pub(crate) fn result(n: i32) -> Result<usize, Code> {
    if n < 0 {
        Err(Code::of(n))
    } else {
        Ok(n as usize)
    }
}

/// Asks for the length of something that the host copies, and then for all of it. What is no UTF-8
/// in it is replaced.
pub(crate) fn text(copy: impl Fn(*mut u8, i32) -> i32) -> String {
    let len = copy(core::ptr::null_mut(), 0);
    if len <= 0 {
        return String::new();
    }
    let mut bytes = vec![0; len as usize];
    copy(bytes.as_mut_ptr(), len);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Milliseconds of a timer: at least 1, and at most what the host takes.
pub(crate) fn milliseconds(after: Duration) -> i32 {
    after.as_millis().clamp(1, i32::MAX as u128) as i32
}

/// The listener's `[listener.config]` as JSON; `{}` if it has none.
pub fn config() -> String {
    text(|ptr, cap| unsafe { abi::config(ptr, cap) })
}

/// Writes one line to the tenant's log, at [`LOG_DEBUG`](crate::LOG_DEBUG) to
/// [`LOG_ERROR`](crate::LOG_ERROR). What is longer than 1024 bytes is cut, and lines above the
/// tenant's rate are dropped.
pub fn log(level: i32, line: &str) {
    unsafe { abi::log(level, line.as_ptr(), line.len() as i32) };
}

/// Adds to one of the tenant's metrics. A name is 1 to 64 of `a` to `z`, `0` to `9` and `_`, and a
/// tenant has at most 100.
pub fn count(name: &str, n: i64) -> Result<(), Code> {
    result(unsafe { abi::count(name.as_ptr(), name.len() as i32, n) }).map(|_| ())
}

/// Fills the bytes with random ones that are fit for keys.
pub fn random(bytes: &mut [u8]) {
    unsafe { abi::random(bytes.as_mut_ptr(), bytes.len() as i32) };
}

/// The time of day, since 1970-01-01 UTC. It may jump.
pub fn now() -> Duration {
    Duration::from_nanos(unsafe { abi::clock(abi::CLOCK_WALL) }.max(0) as u64)
}

/// The time since some moment, which never goes back. Timers use it.
pub fn monotonic() -> Duration {
    Duration::from_nanos(unsafe { abi::clock(abi::CLOCK_MONOTONIC) }.max(0) as u64)
}

/// Has [`Handler::instance_timer`](crate::Handler::instance_timer) called once, with the token. A
/// timer with the same token is moved. [`Code::Quota`]: the instance has
/// [`MAX_TIMERS`](crate::MAX_TIMERS).
pub fn set_timer(token: i32, after: Duration) -> Result<(), Code> {
    result(unsafe { abi::timer(-1, token, milliseconds(after)) }).map(|_| ())
}

/// Takes a timer of [`set_timer`] back. There need be none.
pub fn clear_timer(token: i32) {
    unsafe { abi::timer(-1, token, -1) };
}
