// A handler that has something for each function of the library: what a line says, it does.
const std = @import("std");
const bulkhead = @import("bulkhead/bulkhead.zig");
const Conn = bulkhead.Conn;
const Kind = bulkhead.framing.Kind;

pub const panic = bulkhead.panic;
comptime {
    bulkhead.serve(Everything);
}

/// What was dialled for a client.
const Upstream = struct {
    client: Conn = .{ .handle = 0 },
    relay: bool = false,

    pub fn open(self: *Upstream, c: Conn) !void {
        var buffer: [64]u8 = undefined;
        try self.client.print("up, from {}\n", .{c.info(bulkhead.abi.info_local, &buffer).len == 0});
        if (self.relay) try join(c, self.client);
    }

    pub fn data(self: *Upstream, _: Conn, bytes: []const u8) !usize {
        try self.client.write(bytes);
        return bytes.len;
    }

    pub fn secured(self: *Upstream, _: Conn, result: bulkhead.Error!void) !void {
        try self.client.print("secured {s}\n", .{bulkhead.nameOf(result)});
    }

    pub fn eof(_: *Upstream, c: Conn) !void {
        try c.write("over after 0\n");
        c.close();
    }

    pub fn closed(self: *Upstream, _: Conn, reason: bulkhead.Error!void) void {
        self.client.print("upstream {s}\n", .{bulkhead.nameOf(reason)}) catch {};
    }
};

/// Relays, as soon as what was written to the client is sent.
fn join(upstream: Conn, client: Conn) !void {
    upstream.splice(client) catch |e| if (e != error.Again) return e; // writable is called
}

fn kindOf(name: []const u8) Kind {
    const kinds = [_]struct { []const u8, Kind }{
        .{ "u8", .{ .prefixed = .{ .size = 1, .most = 100 } } },
        .{ "u16be", .{ .prefixed = .{ .size = 2, .most = 100 } } },
        .{ "u16le", .{ .prefixed = .{ .size = 2, .order = .little, .most = 100 } } },
        .{ "u32be", .{ .prefixed = .{ .size = 4, .most = 100 } } },
        .{ "u32le", .{ .prefixed = .{ .size = 4, .order = .little, .most = 100 } } },
        .{ "fixed5", .{ .fixed = 5 } },
        .{ "until--", .{ .until = .{ .delimiter = "--", .most = 100 } } },
    };
    for (kinds) |k| if (std.mem.eql(u8, k[0], name)) return k[1];
    return .{ .lines = 100 };
}

const Verb = enum { config, peer, lines, timer, clear, log, count, clock, random, many, limit, frames, want, pause, tls, dial, relay, up, upgrade, half, abort, refuse, panic, quit };

const Everything = struct {
    pub const Dialled = Upstream;

    kind: Kind = .{ .lines = 100 },
    lines: u32 = 0,
    upstream: ?Conn = null,
    relay: bool = false,

    pub fn start() !void {
        try bulkhead.setTimer(7, 60000);
    }

    pub fn instanceTimer(token: i32) !void {
        bulkhead.log(.info, "instance timer {}", .{token});
    }

    pub fn open(_: *Everything, c: Conn) !void {
        try c.write("hello\n");
    }

    pub fn writable(self: *Everything, c: Conn) !void {
        if (self.relay) try join(self.upstream.?, c);
    }

    pub fn data(self: *Everything, c: Conn, bytes: []const u8) !usize {
        var done: usize = 0;
        while (!self.relay) { // what comes then is the upstream's
            var messages = c.messages(bytes[done..], self.kind);
            const message = try messages.next() orelse break;
            done += messages.used;
            if (self.kind != .lines) {
                try self.framed(c, message);
                continue;
            }
            self.lines += 1;
            const space = std.mem.indexOfScalar(u8, message, ' ') orelse message.len;
            const verb = std.meta.stringToEnum(Verb, message[0..space]) orelse {
                try c.write("?\n");
                continue;
            };
            try self.line(c, verb, message[@min(space + 1, message.len)..]);
            if (verb == .tls) break;
        }
        return done;
    }

    fn framed(self: *Everything, c: Conn, message: []const u8) !void {
        if (!std.mem.eql(u8, message, "lines")) return c.print("[{s}]\n", .{message});
        self.kind = .{ .lines = 100 };
        try c.write("lines\n");
    }

    fn line(self: *Everything, c: Conn, verb: Verb, rest: []const u8) !void {
        switch (verb) {
            .config => {
                const text = try bulkhead.configText();
                defer bulkhead.allocator.free(text);
                const read = try bulkhead.config(struct { greeting: []const u8 = "" });
                if (!std.mem.eql(u8, read.greeting, "hi")) return error.NotFound;
                try c.print("{s}\n", .{text});
            },
            .peer => {
                var peer: [64]u8 = undefined;
                var transport: [8]u8 = undefined;
                var certificate: [8]u8 = undefined;
                try c.print("{s} {s} {s}\n", .{
                    c.info(bulkhead.abi.info_peer, &peer),
                    c.info(bulkhead.abi.info_transport, &transport),
                    c.info(bulkhead.abi.info_certificate, &certificate),
                });
            },
            .lines => try c.print("{}\n", .{self.lines}),
            .timer => try c.setTimer(1, try std.fmt.parseInt(u32, rest, 10)),
            .clear => c.clearTimer(1),
            .log => bulkhead.log(.warn, "{s}", .{rest}),
            .count => try bulkhead.count(rest, 2),
            .clock => try c.print("{}\n", .{bulkhead.now() > bulkhead.monotonic()}),
            .random => {
                var a = [_]u8{0} ** 32;
                bulkhead.random(&a);
                try c.print("{}\n", .{!std.mem.allEqual(u8, &a, 0)});
            },
            .many => {
                const many = try bulkhead.allocator.alloc(u8, try std.fmt.parseInt(u32, rest, 10));
                defer bulkhead.allocator.free(many);
                @memset(many, 'x');
                const result = c.write(many);
                if (result) try c.write("\n") else |_| try c.print("{s}\n", .{bulkhead.nameOf(result)});
            },
            .limit => c.setWriteLimit(try std.fmt.parseInt(u32, rest, 10)),
            .frames => self.kind = kindOf(rest),
            .want => try c.want(try std.fmt.parseInt(u32, rest, 10)),
            .pause => {
                try c.setTimer(2, try std.fmt.parseInt(u32, rest, 10));
                c.pause();
            },
            .tls => try c.makeTlsServer(),
            .dial, .relay => {
                self.relay = verb == .relay;
                self.upstream = try bulkhead.connect(rest);
                self.upstream.?.state(Upstream).?.* = .{ .client = c, .relay = self.relay };
            },
            .up => try self.upstream.?.print("{s}\n", .{rest}),
            .upgrade => try self.upstream.?.makeTlsClient(rest),
            .half => c.finishSending(),
            .abort => c.abort(),
            .refuse => return error.Refused,
            .panic => std.debug.panic("it was told to: {s}", .{rest}),
            .quit => c.close(),
        }
    }

    pub fn secured(_: *Everything, c: Conn, result: bulkhead.Error!void) !void {
        bulkhead.log(.info, "secured {s}", .{bulkhead.nameOf(result)});
        try c.print("secured {s}\n", .{bulkhead.nameOf(result)});
    }

    pub fn eof(self: *Everything, c: Conn) !void {
        try c.print("over after {}\n", .{self.lines});
        c.close();
    }

    pub fn timer(_: *Everything, c: Conn, token: i32) !void {
        if (token == 2) {
            c.resumeReading();
            return c.write("resumed\n");
        }
        try c.print("timer {}\n", .{token});
    }
};
