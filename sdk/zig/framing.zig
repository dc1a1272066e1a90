//! Messages in a stream of bytes.

const std = @import("std");
const abi = @import("abi.zig");

/// How many bytes the host lays before a handler at a time: no message can be longer.
pub const window = 65536;

/// Which of the bytes of a number comes first.
pub const Order = enum { big, little };

/// How messages are told apart. What is longer than `most` is `error.Invalid`: the peer would fill
/// memory.
pub const Kind = union(enum) {
    /// Lines of so many bytes at most, without the line feed that ends each, nor a carriage return
    /// before that.
    lines: usize,
    /// What stands before a delimiter.
    until: struct { delimiter: []const u8, most: usize },
    /// Messages with their length in front, in 1, 2 or 4 bytes. It does not count itself.
    prefixed: struct { size: u3, order: Order = .big, most: usize },
    /// Messages that all have as many bytes.
    fixed: usize,
};

/// A message, and how many bytes of the stream it takes up.
pub const Message = struct { bytes: []const u8, used: usize };

/// The first message of a stream; null while it is not all there.
pub fn first(kind: Kind, bytes: []const u8) abi.Error!?Message {
    return switch (kind) {
        .lines => |most| line(bytes, most),
        .until => |k| until(bytes, k.delimiter, k.most),
        .prefixed => |k| prefixed(bytes, k.size, k.order, k.most),
        .fixed => |size| fixed(bytes, size),
    };
}

fn line(bytes: []const u8, longest: usize) abi.Error!?Message {
    const most = @min(longest, window - 2);
    const end = std.mem.indexOfScalar(u8, bytes, '\n') orelse
        return if (bytes.len > most + 1) error.Invalid else null;
    const text = bytes[0 .. end - @intFromBool(end > 0 and bytes[end - 1] == '\r')];
    if (text.len > most) return error.Invalid;
    return Message{ .bytes = text, .used = end + 1 };
}

fn until(bytes: []const u8, delimiter: []const u8, longest: usize) abi.Error!?Message {
    const most = @min(longest, window -| delimiter.len);
    if (std.mem.indexOf(u8, bytes[0..@min(bytes.len, most + delimiter.len)], delimiter)) |end|
        return Message{ .bytes = bytes[0..end], .used = end + delimiter.len };
    return if (bytes.len < most + delimiter.len) null else error.Invalid;
}

fn prefixed(bytes: []const u8, size: u3, order: Order, longest: usize) abi.Error!?Message {
    if (bytes.len < size) return null;
    var len: u32 = 0;
    for (bytes[0..size], 0..) |b, i| {
        const place: u5 = @intCast(if (order == .big) size - 1 - i else i);
        len |= @as(u32, b) << (8 * place);
    }
    if (len > @min(longest, @as(usize, window) - size)) return error.Invalid;
    if (bytes.len - size < len) return null;
    return Message{ .bytes = bytes[size..][0..len], .used = size + len };
}

fn fixed(bytes: []const u8, size: usize) abi.Error!?Message {
    if (size == 0 or size > window) return error.Invalid;
    return if (bytes.len < size) null else Message{ .bytes = bytes[0..size], .used = size };
}

/// Takes numbers and bytes off the front of others. What is not there is `error.Invalid`.
pub const Reader = struct {
    left: []const u8,

    /// The next bytes, which are part of those that are read.
    pub fn take(r: *Reader, n: usize) abi.Error![]const u8 {
        if (n > r.left.len) return error.Invalid;
        defer r.left = r.left[n..];
        return r.left[0..n];
    }

    /// A number without a sign, of whole bytes: `r.int(u16, .big)`.
    pub fn int(r: *Reader, comptime T: type, order: Order) abi.Error!T {
        const size = @bitSizeOf(T) / 8;
        const b = try r.take(size);
        var n: u64 = 0;
        for (0..size) |i| n = n << 8 | b[if (order == .big) i else size - 1 - i];
        return @intCast(n);
    }
};

/// Puts numbers and bytes behind each other, in a buffer. What that has no room for is
/// `error.Quota`.
pub const Writer = struct {
    buffer: []u8,
    len: usize = 0,

    pub fn bytes(w: *Writer, b: []const u8) abi.Error!void {
        if (b.len > w.buffer.len - w.len) return error.Quota;
        for (b, w.buffer[w.len..][0..b.len]) |from, *to| to.* = from;
        w.len += b.len;
    }

    /// A number without a sign, of whole bytes: `w.int(u16, 502, .big)`.
    pub fn int(w: *Writer, comptime T: type, n: T, order: Order) abi.Error!void {
        const size = @bitSizeOf(T) / 8;
        var b: [size]u8 = undefined;
        for (0..size) |i| b[if (order == .big) size - 1 - i else i] = @truncate(@as(u64, n) >> @intCast(8 * i));
        return w.bytes(&b);
    }

    /// All that was put there.
    pub fn written(w: *const Writer) []const u8 {
        return w.buffer[0..w.len];
    }
};

fn is(kind: Kind, bytes: []const u8, message: []const u8, used: usize) !void {
    const m = (try first(kind, bytes)).?;
    try std.testing.expectEqualStrings(message, m.bytes);
    try std.testing.expectEqual(used, m.used);
}

fn waits(kind: Kind, bytes: []const u8) !void {
    try std.testing.expect((try first(kind, bytes)) == null);
}

fn refuses(kind: Kind, bytes: []const u8) !void {
    try std.testing.expectError(error.Invalid, first(kind, bytes));
}

test "lines" {
    try is(.{ .lines = 10 }, "ab\r\ncd", "ab", 4);
    try is(.{ .lines = 2 }, "ab\ncd", "ab", 3);
    try is(.{ .lines = 2 }, "ab\r\n", "ab", 4);
    try is(.{ .lines = 0 }, "\n", "", 1);
    try waits(.{ .lines = 2 }, "ab");
    try waits(.{ .lines = 2 }, "ab\r");
    try refuses(.{ .lines = 2 }, "abcd");
    try refuses(.{ .lines = 2 }, "abc\n");
    try refuses(.{ .lines = std.math.maxInt(usize) }, &[_]u8{0} ** window);
}

test "delimiters" {
    const two = Kind{ .until = .{ .delimiter = "--", .most = 2 } };
    try is(.{ .until = .{ .delimiter = "--", .most = 5 } }, "ab--cd", "ab", 4);
    try waits(two, "ab-");
    try is(two, "ab--", "ab", 4);
    try refuses(two, "abc-");
    try refuses(two, "abc--");
    try refuses(.{ .until = .{ .delimiter = "-", .most = std.math.maxInt(usize) } }, &[_]u8{0} ** window);
}

test "prefixes" {
    try is(.{ .prefixed = .{ .size = 1, .most = 9 } }, "\x02abc", "ab", 3);
    try is(.{ .prefixed = .{ .size = 2, .most = 9 } }, "\x00\x01a", "a", 3);
    try is(.{ .prefixed = .{ .size = 2, .order = .little, .most = 9 } }, "\x01\x00a", "a", 3);
    const four = Kind{ .prefixed = .{ .size = 4, .most = 9 } };
    try is(four, "\x00\x00\x00\x01a", "a", 5);
    try is(.{ .prefixed = .{ .size = 4, .order = .little, .most = 9 } }, "\x01\x00\x00\x00a", "a", 5);
    try waits(four, "\x00\x00\x00\x02a");
    try waits(four, "\x00\x00");
    try refuses(four, "\xff\xff\xff\xff");
    try refuses(.{ .prefixed = .{ .size = 4, .most = std.math.maxInt(usize) } }, "\x00\x01\x00\x00");
}

test "fixed sizes" {
    try is(.{ .fixed = 3 }, "abcd", "abc", 3);
    try waits(.{ .fixed = 3 }, "ab");
    try refuses(.{ .fixed = 0 }, "ab");
}

test "numbers" {
    var buffer: [31]u8 = undefined;
    var w = Writer{ .buffer = &buffer };
    try w.int(u8, 0x01, .big);
    try w.int(u16, 0x0203, .big);
    try w.int(u16, 0x0504, .little);
    try w.int(u32, 0x06070809, .big);
    try w.int(u32, 0x0d0c0b0a, .little);
    try w.int(u64, 0x0e0f101112131415, .big);
    try w.int(u64, 0x1d1c1b1a19181716, .little);
    try std.testing.expectError(error.Quota, w.int(u24, 0x1e1f20, .big));
    try w.bytes("\x1e");
    for (w.written(), 1..) |b, i| try std.testing.expectEqual(i, b);
    var r = Reader{ .left = w.written() };
    try std.testing.expectEqual(@as(u8, 0x01), try r.int(u8, .big));
    try std.testing.expectEqual(@as(u16, 0x0203), try r.int(u16, .big));
    try std.testing.expectEqual(@as(u16, 0x0504), try r.int(u16, .little));
    try std.testing.expectEqual(@as(u32, 0x06070809), try r.int(u32, .big));
    try std.testing.expectEqual(@as(u32, 0x0d0c0b0a), try r.int(u32, .little));
    try std.testing.expectEqual(@as(u64, 0x0e0f101112131415), try r.int(u64, .big));
    try std.testing.expectEqual(@as(u64, 0x1d1c1b1a19181716), try r.int(u64, .little));
    try std.testing.expectError(error.Invalid, r.int(u16, .big));
    try std.testing.expectEqualStrings("\x1e", try r.take(1));
}
