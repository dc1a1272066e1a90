// A guest in Zig that panics or traps, by the verb that it is sent.
const std = @import("std");

extern "csa_v1" fn send(conn: i32, bytes: [*]const u8, len: i32) i32;
extern "csa_v1" fn log(level: i32, text: [*]const u8, len: i32) i32;

const level_error = 3;

var window: [4096]u8 align(16) = undefined;

export fn csa_window() i64 {
    return @as(i64, @intFromPtr(&window)) << 32 | window.len;
}

// Without a panic of the root file's, what a panic says goes nowhere.
pub fn panic(text: []const u8, _: ?*std.builtin.StackTrace, _: ?usize) noreturn {
    _ = log(level_error, text.ptr, @intCast(text.len));
    @trap(); // at: handler
}

noinline fn lookUp(names: []const u8, n: usize) i32 {
    return names[n]; // at: index
}

export fn csa_data(conn: i32, len: i32) i32 {
    const verb = window[0..@intCast(len)];
    if (std.mem.eql(u8, verb, "index")) return lookUp("abc", verb.len); // at: call
    if (std.mem.eql(u8, verb, "panic")) @panic("no such verb: panic"); // at: panic
    return send(conn, verb.ptr, len);
}
