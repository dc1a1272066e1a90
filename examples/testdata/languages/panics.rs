//! A guest in Rust that panics or traps, by the verb that it is sent.
use std::{panic, ptr};

#[link(wasm_import_module = "csa_v1")]
extern "C" {
    #[link_name = "send"]
    fn csa_send(conn: i32, bytes: *const u8, len: i32) -> i32;
    #[link_name = "log"]
    fn csa_log(level: i32, text: *const u8, len: i32) -> i32;
}

const ERROR: i32 = 3;

const LEN: usize = 4096;
static mut WINDOW: [u8; LEN] = [0; LEN];

#[no_mangle]
pub extern "C" fn csa_window() -> i64 {
    (unsafe { ptr::addr_of!(WINDOW) } as i64) << 32 | LEN as i64
}

/// Without a hook, what a panic says goes nowhere.
#[no_mangle]
pub extern "C" fn csa_start() -> i32 {
    panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        unsafe { csa_log(ERROR, text.as_ptr(), text.len() as i32) };
    }));
    0
}

#[inline(never)]
fn look_up(names: &[&str], n: usize) -> i32 {
    names[n].len() as i32 // at: index
}

#[no_mangle]
pub extern "C" fn csa_data(conn: i32, len: i32) -> i32 {
    let verb = unsafe { &WINDOW[..len as usize] };
    match verb {
        b"index" => look_up(&["a"], verb.len()), // at: call
        b"panic" => panic!("no such verb: panic"), // at: panic
        b"none" => verb.get(9).copied().unwrap() as i32, // at: none
        b"trap" => unsafe { (0xfffffff0u32 as *const i32).read() }, // at: trap
        _ => unsafe { csa_send(conn, verb.as_ptr(), len) },
    }
}
