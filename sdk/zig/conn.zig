const std = @import("std");
const abi = @import("abi.zig");
const framing = @import("framing.zig");

/// Where memory comes from: the module's own, which grows up to the tenant's `memory`.
pub const allocator = std.heap.wasm_allocator;

/// How many bytes `Conn.write` queues for one connection, unless `setWriteLimit` says otherwise.
pub const default_write_limit = 64 << 10;

/// What the library keeps of a connection.
const Kept = struct {
    queue: std.ArrayListUnmanaged(u8) = .{},
    sent: usize = 0, // of the queue
    limit: usize = default_write_limit,
    last: ?i32 = null, // what control is told when the queue is empty
    closing: bool = false,
    messages: ?bool = null, // each send is one: so in the queue, behind its length; null: not known yet
    dialled: bool,
    state: *anyopaque,
    type_name: [*]const u8, // of the state

    /// How many bytes stand before each message in the queue: none where they are a stream.
    fn mark(k: *Kept, c: Conn) usize {
        const messages = k.messages orelse messages: {
            var buffer: [4]u8 = undefined;
            const transport = c.info(abi.info_transport, &buffer);
            break :messages std.mem.eql(u8, transport, "udp") or std.mem.eql(u8, transport, "ws");
        };
        k.messages = messages;
        return if (messages) mark_bytes else 0;
    }
};

/// How many bytes the length of a message takes in a queue.
const mark_bytes = 4;

/// Makes and ends the states of connections, as `serve` has been told their type.
pub var makeState: *const fn (dialled: bool) std.mem.Allocator.Error!State = undefined;
pub var endState: *const fn (dialled: bool, state: *anyopaque) void = undefined;
pub const State = struct { at: *anyopaque, type_name: [*]const u8 };

var table: std.AutoHashMapUnmanaged(i32, *Kept) = .{};

/// Connections that a splice has taken, which end after the callback: their states are in use.
var spliced: std.ArrayListUnmanaged(Conn) = .{};

/// The result of a host function: a count, or a code below 0.
pub fn check(n: i32) abi.Error!usize {
    return if (n < 0) abi.errorOf(n) else @intCast(n);
}

/// Starts to dial an address that the tenant may: `tcp://host:port`, `tls://host:port`,
/// `udp://host:port` or `unix:///path`. `open` is called when it is up, or `closed` alone when that
/// fails.
pub fn connect(address: []const u8) abi.Error!Conn {
    const c = Conn{ .handle = @intCast(try check(abi.connect(address.ptr, @intCast(address.len)))) };
    c.begin(true) catch {
        c.abort();
        return error.Quota;
    };
    (try c.kept()).messages = std.mem.startsWith(u8, address, "udp:");
    return c;
}

/// A connection: a number by which the host knows it. It may be kept and copied. Once `closed` was
/// called for it, its functions answer `error.BadHandle` or do nothing.
pub const Conn = struct {
    /// Logs have it, too.
    handle: i32,

    fn kept(c: Conn) abi.Error!*Kept {
        return table.get(c.handle) orelse error.BadHandle;
    }

    /// Whether `connect` has made it.
    pub fn dialled(c: Conn) bool {
        return (c.kept() catch return false).dialled;
    }

    /// What the handler keeps of the connection; null where that has another type.
    pub fn state(c: Conn, comptime T: type) ?*T {
        const k = c.kept() catch return null;
        if (k.type_name != @typeName(T).ptr) return null;
        return @ptrCast(@alignCast(k.state));
    }

    /// Sends all of the bytes: what the inbox has no room for is queued and sent later. It takes all
    /// or nothing. `error.Quota`: the queue would grow beyond the write limit, since the peer takes
    /// less than it is sent. `error.Closed`: no more can be sent.
    ///
    /// Over WebSocket and UDP each `write` is one message, also where it has to wait. In the queue a
    /// message takes `queued` 4 bytes more.
    pub fn write(c: Conn, bytes: []const u8) abi.Error!void {
        const k = try c.kept();
        if (k.closing or k.last != null) return error.Closed;
        const waiting = k.queue.items.len - k.sent;
        if (waiting + bytes.len > k.limit) return error.Quota;
        var rest = bytes;
        while (waiting == 0) {
            // A short answer is asked again: AGAIN promises that room is told of.
            const n = c.send(rest) catch |e| if (e == error.Again) break else return e;
            rest = rest[n..];
            if (rest.len == 0) return;
        }
        const mark = k.mark(c);
        if (waiting > 0 and waiting + mark + rest.len > k.limit) return error.Quota;
        if (k.sent > waiting) { // what is sent takes no room for long
            std.mem.copyForwards(u8, k.queue.items[0..waiting], k.queue.items[k.sent..]);
            k.queue.shrinkRetainingCapacity(waiting);
            k.sent = 0;
        }
        k.queue.ensureUnusedCapacity(allocator, mark + rest.len) catch {
            if (rest.len < bytes.len) c.abort(); // what was sent cannot be taken back
            return error.Quota;
        };
        if (mark > 0) k.queue.appendSliceAssumeCapacity(std.mem.asBytes(&@as(u32, @intCast(rest.len))));
        k.queue.appendSliceAssumeCapacity(rest);
    }

    /// The same for a text that is put together: `c.print("Hello, {s}!\r\n", .{name})`.
    pub fn print(c: Conn, comptime fmt: []const u8, args: anytype) abi.Error!void {
        const text = std.fmt.allocPrint(allocator, fmt, args) catch return error.Quota;
        defer allocator.free(text);
        return c.write(text);
    }

    /// How many bytes at most `write` queues; 0 means `default_write_limit`.
    pub fn setWriteLimit(c: Conn, bytes: usize) void {
        const k = c.kept() catch return;
        k.limit = if (bytes == 0) default_write_limit else bytes;
    }

    /// How many bytes `write` has queued and the inbox has not taken yet.
    pub fn queued(c: Conn) usize {
        const k = c.kept() catch return 0;
        return k.queue.items.len - k.sent;
    }

    /// Sends what the inbox has room for, and answers how much that was. The other bytes are the
    /// caller's. `error.Again`: there was no room at all; `writable` says when there is. Over UDP the
    /// bytes are one datagram, taken whole or not at all. Not while `queued` is above 0.
    pub fn send(c: Conn, bytes: []const u8) abi.Error!usize {
        return check(abi.send(c.handle, bytes.ptr, @intCast(bytes.len)));
    }

    /// The messages in what `data` was given, one after the other:
    ///
    ///     var messages = c.messages(bytes, .{ .lines = 1000 });
    ///     while (try messages.next()) |line| try c.print("{s}\n", .{line});
    ///     return messages.used;
    ///
    /// It stops where the connection is closing, and while what was written waits, so that a peer
    /// that does not read its answers is not served further: the others come again.
    pub fn messages(c: Conn, bytes: []const u8, kind: framing.Kind) Messages {
        return .{ .conn = c, .bytes = bytes, .kind = kind };
    }

    /// Sends what is queued, and then closes the connection.
    pub fn close(c: Conn) void {
        c.finish(abi.producer_finished);
    }

    /// Sends what is queued, and then tells the peer that no more comes. Receiving goes on.
    pub fn finishSending(c: Conn) void {
        c.finish(abi.finish_sending);
    }

    fn finish(c: Conn, what: i32) void {
        const k = c.kept() catch return;
        if (what == abi.producer_finished) k.closing = true;
        if (c.queued() > 0) k.last = what else _ = abi.control(c.handle, what);
    }

    /// Closes the connection now, and drops what is not sent yet.
    pub fn abort(c: Conn) void {
        if (c.kept()) |k| k.closing = true else |_| {}
        _ = abi.control(c.handle, abi.shutdown_microprocess);
    }

    /// Whether the handler has closed it, or it is gone.
    pub fn closing(c: Conn) bool {
        return (c.kept() catch return true).closing;
    }

    /// Makes the peer wait: no bytes come until `resumeReading`.
    pub fn pause(c: Conn) void {
        _ = abi.receive(c.handle, 0);
    }

    /// Has bytes come again, those that were left first.
    pub fn resumeReading(c: Conn) void {
        _ = abi.receive(c.handle, 1);
    }

    /// Has no `data` come before so many bytes are there, or the peer has finished. It stays until
    /// it is changed; 1 is the beginning. `error.Invalid`: more than `framing.window`.
    pub fn want(c: Conn, bytes: usize) abi.Error!void {
        if (bytes > framing.window) return error.Invalid;
        _ = try check(abi.want(c.handle, @intCast(bytes)));
    }

    /// Has `timer` called once, with the token, after so many milliseconds. A timer of the
    /// connection with the same token is moved; all end with it.
    pub fn setTimer(c: Conn, token: i32, ms: u32) abi.Error!void {
        _ = try check(abi.timer(c.handle, token, milliseconds(ms)));
    }

    /// Takes a timer back. There need be none.
    pub fn clearTimer(c: Conn, token: i32) void {
        _ = abi.timer(c.handle, token, -1);
    }

    /// Starts TLS with the peer as its client, with the listener's certificate. What was sent before
    /// leaves in the clear. In `data`, return right after it: bytes that are left would be taken for
    /// encrypted ones, and the host closes the connection.
    pub fn makeTlsServer(c: Conn) abi.Error!void {
        _ = try check(abi.makessl(c.handle, abi.tls_server, "", 0));
    }

    /// Starts TLS with the peer as its server, whose certificate must have the name.
    pub fn makeTlsClient(c: Conn, name: []const u8) abi.Error!void {
        _ = try check(abi.makessl(c.handle, abi.tls_client, name.ptr, @intCast(name.len)));
    }

    /// Has the host relay all bytes between two connections from here on. Both are gone from the
    /// handler. `error.Again`: something that `write` has queued waits still, or one is not up yet;
    /// try again in `writable`.
    pub fn splice(c: Conn, other: Conn) abi.Error!void {
        if (c.queued() > 0 or other.queued() > 0) return error.Again;
        spliced.ensureUnusedCapacity(allocator, 2) catch return error.Quota;
        _ = try check(abi.splice(c.handle, other.handle));
        spliced.appendAssumeCapacity(c);
        spliced.appendAssumeCapacity(other);
    }

    /// What the host knows under one of the keys `abi.info_peer` and so on, in the buffer; as much
    /// of it as that has room for, and "" where there is no such thing.
    pub fn info(c: Conn, key: i32, buffer: []u8) []const u8 {
        const len = check(abi.info(c.handle, key, buffer.ptr, @intCast(buffer.len))) catch return "";
        return buffer[0..@min(len, buffer.len)];
    }

    // What is below is for bulkhead.zig alone.

    /// Keeps what belongs to the connection from now on.
    pub fn begin(c: Conn, is_dialled: bool) std.mem.Allocator.Error!void {
        if (table.contains(c.handle)) return;
        const k = try allocator.create(Kept);
        errdefer allocator.destroy(k);
        const s = try makeState(is_dialled);
        errdefer endState(is_dialled, s.at);
        k.* = .{ .dialled = is_dialled, .state = s.at, .type_name = s.type_name };
        try table.put(allocator, c.handle, k);
    }

    pub fn stateAt(c: Conn) ?*anyopaque {
        return (c.kept() catch return null).state;
    }

    /// Sends what is queued, and answers whether none of it waits any more.
    pub fn flush(c: Conn) bool {
        const k = c.kept() catch return true;
        while (k.sent < k.queue.items.len) {
            const mark = k.mark(c);
            const all = k.queue.items[k.sent..];
            const len = if (mark > 0) std.mem.bytesToValue(u32, all[0..mark_bytes]) else all.len;
            const n = c.send(all[mark..][0..len]) catch |e| {
                if (e == error.Again) return false;
                k.last = abi.shutdown_microprocess;
                break;
            };
            k.sent += n;
            if (n == len) {
                k.sent += mark;
            } else if (mark > 0) { // what is left is a message of its own
                @memcpy(all[n..][0..mark_bytes], std.mem.asBytes(&@as(u32, @intCast(len - n))));
            }
        }
        k.sent = 0;
        // A connection that has sent much and is idle keeps no more than a little.
        if (k.queue.capacity > 4096) k.queue.clearAndFree(allocator) else k.queue.clearRetainingCapacity();
        if (k.last) |what| {
            k.last = null;
            _ = abi.control(c.handle, what);
        }
        return true;
    }

    pub fn forget(c: Conn) void {
        const entry = table.fetchRemove(c.handle) orelse return;
        const k = entry.value;
        k.queue.deinit(allocator);
        endState(k.dialled, k.state);
        allocator.destroy(k);
    }
};

/// Forgets what a splice has taken. No callback's state is in use any more.
pub fn forgetSpliced() void {
    while (spliced.items.len > 0) spliced.swapRemove(0).forget();
}

/// Milliseconds of a timer: at least 1, and at most what the host takes.
pub fn milliseconds(ms: u32) i32 {
    return @intCast(@min(@max(ms, 1), std.math.maxInt(i32)));
}

/// The messages of `Conn.messages`.
pub const Messages = struct {
    conn: Conn,
    bytes: []const u8,
    kind: framing.Kind,
    /// How many of the bytes they have taken up.
    used: usize = 0,

    /// The next one, which is valid during the callback; null where there is none yet.
    pub fn next(m: *Messages) abi.Error!?[]const u8 {
        if (m.conn.closing() or m.conn.queued() > 0) return null;
        const one = try framing.first(m.kind, m.bytes[m.used..]) orelse return null;
        m.used += one.used;
        return one.bytes;
    }
};
