// Texts as bytes, and numbers in bytes.

/**
 * The text of bytes that are UTF-8. What is no UTF-8 in them becomes U+FFFD, one for each byte, so
 * that whatever a peer sends is a text.
 */
export function decode(bytes: Uint8Array): string {
  return decodeAt(bytes.dataStart, bytes.length);
}

/** The same for bytes in memory. */
export function decodeAt(at: usize, len: i32): string {
  // A byte becomes one unit of UTF-16 at most.
  const units = new StaticArray<u16>(len);
  let n = 0;
  const end = at + len;
  while (at < end) {
    const first = <u32>load<u8>(at++);
    if (first < 0x80) {
      unchecked(units[n++] = <u16>first);
      continue;
    }
    let more = 0; // bytes that follow
    let least: u32 = 0; // what fewer bytes could say is no UTF-8
    let point: u32 = 0;
    if (first >= 0xf0 && first < 0xf8) {
      more = 3;
      least = 0x10000;
      point = first & 7;
    } else if (first >= 0xe0 && first < 0xf0) {
      more = 2;
      least = 0x800;
      point = first & 15;
    } else if (first >= 0xc0 && first < 0xe0) {
      more = 1;
      least = 0x80;
      point = first & 31;
    }
    let ok = more > 0 && at + more <= end;
    for (let i = 0; ok && i < more; i++) {
      const next = <u32>load<u8>(at + i);
      ok = (next & 0xc0) == 0x80;
      point = (point << 6) | (next & 0x3f);
    }
    if (!ok || point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
      unchecked(units[n++] = 0xfffd);
      continue;
    }
    at += more;
    if (point >= 0x10000) {
      point -= 0x10000;
      unchecked(units[n++] = <u16>(0xd800 + (point >> 10)));
      point = 0xdc00 + (point & 0x3ff);
    }
    unchecked(units[n++] = <u16>point);
  }
  return String.UTF16.decodeUnsafe(changetype<usize>(units), <usize>n << 1);
}

/** The bytes of a text, in UTF-8. */
export function encode(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

/**
 * Takes numbers and bytes off the front of others. What is not there reads as 0, or as no bytes, and
 * `ok` is false from then on: look at it once, at the end.
 */
export class Reader {
  private at: i32 = 0;
  /** Whether everything that was read was there. */
  ok: bool = true;

  constructor(private from: Uint8Array) {}

  /** How many bytes are left. */
  get left(): i32 {
    return this.from.length - this.at;
  }

  /** The address of the next `n` bytes, which are taken; 0 if they are not there. */
  private take(n: i32): usize {
    if (n < 0 || n > this.left || !this.ok) {
      this.ok = false;
      return 0;
    }
    const start = this.from.dataStart + <usize>this.at;
    this.at += n;
    return start;
  }

  u8(): u8 {
    const p = this.take(1);
    return p == 0 ? 0 : load<u8>(p);
  }

  /** The greater byte first, as network protocols have it. */
  u16(): u16 {
    const p = this.take(2);
    return p == 0 ? 0 : bswap<u16>(load<u16>(p));
  }

  /** The smaller byte first. */
  u16le(): u16 {
    const p = this.take(2);
    return p == 0 ? 0 : load<u16>(p);
  }

  u32(): u32 {
    const p = this.take(4);
    return p == 0 ? 0 : bswap<u32>(load<u32>(p));
  }

  u32le(): u32 {
    const p = this.take(4);
    return p == 0 ? 0 : load<u32>(p);
  }

  u64(): u64 {
    const p = this.take(8);
    return p == 0 ? 0 : bswap<u64>(load<u64>(p));
  }

  u64le(): u64 {
    const p = this.take(8);
    return p == 0 ? 0 : load<u64>(p);
  }

  /** The next `n` bytes: a view of those that are read, and valid as long as they are. */
  bytes(n: i32): Uint8Array {
    const p = this.take(n);
    return p == 0 ? this.from.subarray(0, 0) : this.from.subarray(this.at - n, this.at);
  }

  /** The next `n` bytes as text. */
  text(n: i32): string {
    const p = this.take(n);
    return p == 0 ? "" : decodeAt(p, n);
  }
}

/** Puts numbers and bytes behind each other. */
export class Writer {
  private room: Uint8Array;
  private len: i32 = 0;

  /** `capacity` bytes need no growing. */
  constructor(capacity: i32 = 64) {
    this.room = new Uint8Array(max(capacity, 16));
  }

  /** How many bytes it has. */
  get length(): i32 {
    return this.len;
  }

  private more(n: i32): usize {
    if (this.len + n > this.room.length) {
      const bigger = new Uint8Array(max(2 * this.room.length, this.len + n));
      memory.copy(bigger.dataStart, this.room.dataStart, this.len);
      this.room = bigger;
    }
    const to = this.room.dataStart + <usize>this.len;
    this.len += n;
    return to;
  }

  u8(n: u32): this {
    store<u8>(this.more(1), <u8>n);
    return this;
  }

  /** The greater byte first, as network protocols have it. */
  u16(n: u32): this {
    store<u16>(this.more(2), bswap<u16>(<u16>n));
    return this;
  }

  /** The smaller byte first. */
  u16le(n: u32): this {
    store<u16>(this.more(2), <u16>n);
    return this;
  }

  u32(n: u32): this {
    store<u32>(this.more(4), bswap<u32>(n));
    return this;
  }

  u32le(n: u32): this {
    store<u32>(this.more(4), n);
    return this;
  }

  u64(n: u64): this {
    store<u64>(this.more(8), bswap<u64>(n));
    return this;
  }

  u64le(n: u64): this {
    store<u64>(this.more(8), n);
    return this;
  }

  bytes(bytes: Uint8Array): this {
    memory.copy(this.more(bytes.length), bytes.dataStart, bytes.length);
    return this;
  }

  /** A text in UTF-8. */
  text(text: string): this {
    const n = String.UTF8.byteLength(text);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.more(n));
    return this;
  }

  /** All that was put there: a view, which is valid until more is put or it is cleared. */
  get written(): Uint8Array {
    return this.room.subarray(0, this.len);
  }

  /** Begins anew, in the same memory. */
  clear(): this {
    this.len = 0;
    return this;
  }
}
