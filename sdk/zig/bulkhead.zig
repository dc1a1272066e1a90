//! Handlers for Bulkhead in Zig. A handler is a struct with callbacks, and each connection has a
//! value of it. This one answers each line with itself:
//!
//!     const bulkhead = @import("bulkhead/bulkhead.zig");
//!
//!     const Echo = struct {
//!         pub fn data(_: *Echo, c: bulkhead.Conn, bytes: []const u8) !usize {
//!             var lines = c.messages(bytes, .{ .lines = 1000 });
//!             while (try lines.next()) |line| try c.print("{s}\r\n", .{line});
//!             return lines.used;
//!         }
//!     };
//!
//!     pub const panic = bulkhead.panic;
//!     comptime {
//!         bulkhead.serve(Echo);
//!     }
//!
//! The host calls one callback at a time, and waits for it: the other connections of the instance
//! wait, too. There are no threads. A panic ends the instance with all its connections, and its text
//! goes to the tenant's log.

const std = @import("std");
const connection = @import("conn.zig");

pub const abi = @import("abi.zig");
pub const framing = @import("framing.zig");

pub const Error = abi.Error;
pub const Conn = connection.Conn;
pub const connect = connection.connect;
pub const allocator = connection.allocator;
pub const default_write_limit = connection.default_write_limit;

/// The name of how something has ended in the contract: `OK`, or such as `BAD_HANDLE`.
pub fn nameOf(result: Error!void) []const u8 {
    if (result) return "OK" else |e| return abi.nameOf(e);
}

pub const Level = enum(i32) {
    debug = abi.log_debug, // for the author
    info = abi.log_info, // for the operator, in ordinary operation
    warn = abi.log_warn, // what somebody should look at
    err = abi.log_error, // what keeps the handler from its work
};

/// Writes one line to the tenant's log. What is longer than 1024 bytes is cut, and lines above the
/// tenant's rate are dropped.
pub fn log(level: Level, comptime fmt: []const u8, args: anytype) void {
    var buffer: [abi.max_log_line]u8 = undefined;
    logText(level, std.fmt.bufPrint(&buffer, fmt, args) catch &buffer);
}

/// The same for a text that is there.
pub fn logText(level: Level, text: []const u8) void {
    _ = abi.log(@intFromEnum(level), text.ptr, @intCast(text.len));
}

/// Adds to one of the tenant's metrics. A name is 1 to 64 of `a` to `z`, `0` to `9` and `_`, and a
/// tenant has at most 100.
pub fn count(name: []const u8, n: i64) Error!void {
    _ = try connection.check(abi.count(name.ptr, @intCast(name.len), n));
}

/// Fills the bytes with random ones that are fit for keys.
pub fn random(bytes: []u8) void {
    _ = abi.random(bytes.ptr, @intCast(bytes.len));
}

/// The time of day in nanoseconds since 1970-01-01 UTC. It may jump.
pub fn now() i64 {
    return abi.clock(abi.clock_wall);
}

/// The nanoseconds since some moment, which never go back. Timers use them.
pub fn monotonic() i64 {
    return abi.clock(abi.clock_monotonic);
}

/// Has `instanceTimer` called once, with the token, after so many milliseconds. A timer with the same
/// token is moved. `error.Quota`: the instance has `abi.max_timers`.
pub fn setTimer(token: i32, ms: u32) Error!void {
    _ = try connection.check(abi.timer(-1, token, connection.milliseconds(ms)));
}

/// Takes a timer of `setTimer` back. There need be none.
pub fn clearTimer(token: i32) void {
    _ = abi.timer(-1, token, -1);
}

/// The listener's `[listener.config]` as text: JSON, `{}` if it has none. The caller frees it.
pub fn configText() ![]const u8 {
    const len = try connection.check(abi.config(&window, 0));
    const text = try allocator.alloc(u8, len);
    _ = abi.config(text.ptr, @intCast(len));
    return text;
}

/// The listener's `[listener.config]` as a struct. A field without a default must be there; keys
/// that are no fields are passed over. What it leads to stays as long as the instance.
pub fn config(comptime T: type) !T {
    return std.json.parseFromSliceLeaky(T, allocator, try configText(), .{ .ignore_unknown_fields = true });
}

fn panicked(text: []const u8, _: ?usize) noreturn {
    logText(.err, text);
    @trap();
}

fn panickedBefore(text: []const u8, _: ?*std.builtin.StackTrace, at: ?usize) noreturn {
    panicked(text, at);
}

/// What the handler's file has to name `panic`: then what a panic says goes to the tenant's log.
pub const panic = if (@hasDecl(std.debug, "FullPanic")) std.debug.FullPanic(panicked) else panickedBefore;

/// Exports a handler: once, in a `comptime` block of the module's first file. Each connection has a
/// value of the type, whose fields need defaults. Of its functions only `data` must be there:
///
///     open(self: *H, c: Conn) !void               the connection is there, or one of `connect` is up
///     data(self: *H, c: Conn, bytes) !usize       bytes have come; how many, from the first, it is
///                                                 done with: the others come again with more
///     writable(self: *H, c: Conn) !void           all that `write` has queued is sent
///     secured(self: *H, c: Conn, Error!void)      the handshake of `makeTlsServer` is over
///     eof(self: *H, c: Conn) !void                the peer has finished; without it, close
///     timer(self: *H, c: Conn, token: i32) !void  a timer of `Conn.setTimer` has fired
///     closed(self: *H, c: Conn, Error!void) void  the connection is gone
///
/// An error of one of them closes the connection; that of `open` and `data` is the reason. For the
/// others it is INVALID, but `error.Closed` is an end in good order: there was an answer that nobody
/// can get any more. An error that is none of `Error` is logged by its name. `error.Again` of `data` is no error, and leaves all
/// bytes there. While bytes that were written wait, no `data` comes for the connection.
///
/// `pub const Dialled = Other;` gives connections of `connect` a type of their own. And for the
/// instance: `start() !void`, whose error refuses to start; `reseed() void` in a copy of one that has
/// started, to draw again what `start` has drawn at random; `instanceTimer(token: i32) !void`;
/// `stop() void`, when the host drains.
pub fn serve(comptime H: type) void {
    _ = Exports(H);
}

/// Where the host lays bytes that have come.
var window: [framing.window]u8 align(16) = undefined;

/// The code of an error of the handler's.
fn codeOf(err: anyerror) i32 {
    if (abi.codeOf(err)) |code| return code;
    if (err == error.OutOfMemory) return abi.codeOf(error.Quota).?;
    log(.err, "error.{s}", .{@errorName(err)});
    return abi.codeOf(error.Invalid).?;
}

fn resultOf(code: i32) Error!void {
    if (code < 0) return abi.errorOf(code);
}

fn Exports(comptime H: type) type {
    const D = if (@hasDecl(H, "Dialled")) H.Dialled else H;
    return struct {
        fn make(dialled: bool) std.mem.Allocator.Error!connection.State {
            return if (dialled) makeOf(D) else makeOf(H);
        }

        fn makeOf(comptime T: type) std.mem.Allocator.Error!connection.State {
            const state = try allocator.create(T);
            state.* = .{};
            // A type without fields has pointers without an alignment.
            return .{ .at = @ptrCast(@alignCast(state)), .type_name = @typeName(T).ptr };
        }

        fn end(dialled: bool, state: *anyopaque) void {
            if (dialled) allocator.destroy(@as(*D, @ptrCast(@alignCast(state)))) else allocator.destroy(@as(*H, @ptrCast(@alignCast(state))));
        }

        /// Calls a callback that the connection's type has; `otherwise` where it has none.
        fn call(comptime name: []const u8, comptime R: type, c: Conn, otherwise: R, args: anytype) anyerror!R {
            defer connection.forgetSpliced();
            const at = c.stateAt() orelse return otherwise;
            if (c.dialled()) return callOf(D, name, R, at, c, otherwise, args);
            return callOf(H, name, R, at, c, otherwise, args);
        }

        fn callOf(comptime T: type, comptime name: []const u8, comptime R: type, at: *anyopaque, c: Conn, otherwise: R, args: anytype) anyerror!R {
            if (!@hasDecl(T, name)) return otherwise;
            return @call(.auto, @field(T, name), .{ @as(*T, @ptrCast(@alignCast(at))), c } ++ args);
        }

        /// What has gone wrong where no result says so.
        fn closeOn(c: Conn, result: anyerror!void) void {
            const e = if (result) return else |e| e;
            if (e == error.Closed) return c.close(); // an answer that nobody can get any more
            if (abi.codeOf(e) == null) log(.err, "error.{s}", .{@errorName(e)});
            if (!c.closing()) _ = abi.control(c.handle, abi.handler_failed);
        }

        export fn csa_window() i64 {
            return @as(i64, @intCast(@intFromPtr(&window))) << 32 | window.len;
        }

        export fn csa_start() i32 {
            connection.makeState = make;
            connection.endState = end;
            if (@hasDecl(H, "start")) @as(anyerror!void, H.start()) catch |e| return codeOf(e);
            return 0;
        }

        export fn csa_reseed() void {
            if (@hasDecl(H, "reseed")) H.reseed();
        }

        export fn csa_open(handle: i32) i32 {
            const c = Conn{ .handle = handle };
            c.begin(false) catch |e| return codeOf(e);
            _ = c.flush();
            call("open", void, c, {}, .{}) catch |e| return codeOf(e);
            return 0;
        }

        export fn csa_data(handle: i32, len: i32) i32 {
            const c = Conn{ .handle = handle };
            if (!c.flush()) return 0;
            if (c.closing()) return len;
            const bytes: []const u8 = window[0..@intCast(len)];
            const n = call("data", usize, c, bytes.len, .{bytes}) catch |e|
                return if (e == error.Again) 0 else codeOf(e);
            // What comes behind a close is not read.
            return if (c.stateAt() != null and c.closing()) len else std.math.cast(i32, n) orelse codeOf(error.Invalid);
        }

        export fn csa_writable(handle: i32) void {
            const c = Conn{ .handle = handle };
            if (c.flush() and !c.closing()) closeOn(c, call("writable", void, c, {}, .{}));
        }

        export fn csa_secured(handle: i32, status: i32) void {
            const c = Conn{ .handle = handle };
            if (status == 0) _ = c.flush();
            closeOn(c, call("secured", void, c, {}, .{resultOf(status)}));
        }

        export fn csa_eof(handle: i32) void {
            const c = Conn{ .handle = handle };
            if (c.closing()) return;
            const own = if (c.dialled()) @hasDecl(D, "eof") else @hasDecl(H, "eof");
            if (own) closeOn(c, call("eof", void, c, {}, .{})) else c.close();
        }

        export fn csa_closed(handle: i32, reason: i32) void {
            const c = Conn{ .handle = handle };
            closeOn(c, call("closed", void, c, {}, .{resultOf(reason)}));
            c.forget();
        }

        export fn csa_timer(handle: i32, token: i32) void {
            if (handle >= 0) {
                const c = Conn{ .handle = handle };
                if (!c.closing()) closeOn(c, call("timer", void, c, {}, .{token}));
            } else if (@hasDecl(H, "instanceTimer")) {
                @as(anyerror!void, H.instanceTimer(token)) catch |e| {
                    log(.err, "error.{s}", .{@errorName(e)});
                    _ = abi.control(-1, abi.handler_failed);
                };
            }
        }

        export fn csa_stop() void {
            if (@hasDecl(H, "stop")) H.stop();
        }
    };
}
