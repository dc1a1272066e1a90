//! Modbus over TCP: a device with holding registers that all its clients share.
const bulkhead = @import("bulkhead/bulkhead.zig");
const Conn = bulkhead.Conn;
const Reader = bulkhead.framing.Reader;
const Writer = bulkhead.framing.Writer;

pub const panic = bulkhead.panic;
comptime {
    bulkhead.serve(Client);
}

/// What the protocol allows at once.
const most_read = 125;
const most_written = 123;

/// The registers, from 0, and how many the device has: `[listener.config]` may say fewer.
var values = [_]u16{0} ** 65536;
var registers: []u16 = values[0..100];

const Function = enum(u8) { read_holding = 3, write_one = 6, write_many = 16, _ };

/// Why a request is not done, as the client is told.
const Refusal = enum(u8) { illegal_function = 1, illegal_address = 2, illegal_value = 3 };

const Config = struct { registers: usize = 100 };

const Client = struct {
    pub fn start() !void {
        const config = try bulkhead.config(Config);
        if (config.registers < 1 or config.registers > values.len) {
            bulkhead.log(.err, "registers = {}: a device has 1 to {}", .{ config.registers, values.len });
            return error.Invalid;
        }
        registers = values[0..config.registers];
    }

    /// Requests stand behind each other, each with its length in its header. What the client does
    /// not read is not answered further.
    pub fn data(_: *Client, c: Conn, bytes: []const u8) !usize {
        var done: usize = 0;
        while (c.queued() == 0) {
            var r = Reader{ .left = bytes[done..] };
            if (r.left.len < 6) break;
            const transaction = try r.int(u16, .big);
            const protocol = try r.int(u16, .big);
            const len = try r.int(u16, .big);
            if (protocol != 0 or len < 2 or len > 254) return error.Invalid; // this is not Modbus
            if (r.left.len < len) break;
            var request = Reader{ .left = try r.take(len) };
            const unit = try request.int(u8, .big);

            var buffer: [260]u8 = undefined;
            var answer = Writer{ .buffer = buffer[7..] };
            try respond(&request, &answer);
            var head = Writer{ .buffer = buffer[0..7] };
            try head.int(u16, transaction, .big);
            try head.int(u16, 0, .big);
            try head.int(u16, @as(u16, @intCast(answer.len + 1)), .big);
            try head.int(u8, unit, .big);
            try c.write(buffer[0 .. 7 + answer.len]);
            done += 6 + @as(usize, len);
        }
        return done;
    }
};

/// Answers one request, of which the function comes first.
fn respond(request: *Reader, answer: *Writer) !void {
    const function = try request.int(u8, .big);
    try answer.int(u8, function, .big);
    if (try perform(@enumFromInt(function), request, answer)) |why| {
        answer.len = 0;
        try answer.int(u8, function | 0x80, .big);
        try answer.int(u8, @intFromEnum(why), .big);
        try bulkhead.count("refused", 1);
    } else {
        try bulkhead.count("served", 1);
    }
}

/// Does what is asked, and writes the rest of the answer; or says why not.
fn perform(function: Function, request: *Reader, answer: *Writer) !?Refusal {
    switch (function) {
        .read_holding => {
            const first = request.int(u16, .big) catch return .illegal_value;
            const n = request.int(u16, .big) catch return .illegal_value;
            if (n < 1 or n > most_read or request.left.len > 0) return .illegal_value;
            const read = at(first, n) orelse return .illegal_address;
            try answer.int(u8, @as(u8, @intCast(2 * n)), .big);
            for (read) |value| try answer.int(u16, value, .big);
        },
        .write_one => {
            const first = request.int(u16, .big) catch return .illegal_value;
            const value = request.int(u16, .big) catch return .illegal_value;
            if (request.left.len > 0) return .illegal_value;
            const written = at(first, 1) orelse return .illegal_address;
            written[0] = value;
            try answer.int(u16, first, .big);
            try answer.int(u16, value, .big);
        },
        .write_many => {
            const first = request.int(u16, .big) catch return .illegal_value;
            const n = request.int(u16, .big) catch return .illegal_value;
            const size = request.int(u8, .big) catch return .illegal_value;
            if (n < 1 or n > most_written or size != 2 * n or request.left.len != size) return .illegal_value;
            const written = at(first, n) orelse return .illegal_address;
            for (written) |*value| value.* = try request.int(u16, .big);
            try answer.int(u16, first, .big);
            try answer.int(u16, n, .big);
        },
        _ => return .illegal_function,
    }
    return null;
}

/// The registers from first; null where the device has not so many.
fn at(first: usize, n: usize) ?[]u16 {
    return if (first + n <= registers.len) registers[first..][0..n] else null;
}
