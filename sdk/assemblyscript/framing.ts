// Messages in a stream of bytes.

import { Code } from "./abi";

/** How many bytes the host lays before a handler at a time: no message can be longer. */
export const WINDOW: i32 = 65536;

/**
 * Finds messages in a stream. A handler's `framing` is one, and `message` is called for what it
 * finds.
 */
export abstract class Framing {
  /** Where the message begins that `next` has found, and where it ends. */
  start: i32 = 0;
  end: i32 = 0;

  /**
   * Looks for the first message behind `from`. It answers how many bytes that takes up, 0 while it
   * is not all there, and `Code.INVALID` where it is longer than allowed: the peer would fill
   * memory.
   */
  abstract next(bytes: Uint8Array, from: i32): i32;
}

/** Lines, without the line feed that ends each, nor a carriage return before that. */
export class Lines extends Framing {
  /** `most` is how many bytes a line may have, at most those of the window less two. */
  constructor(private most: i32 = 1000) {
    super();
    this.most = min(most, WINDOW - 2);
  }

  next(bytes: Uint8Array, from: i32): i32 {
    const first = bytes.dataStart + <usize>from;
    const last = bytes.dataStart + <usize>bytes.length;
    let at = first;
    while (at < last && load<u8>(at) != 0x0a) at++;
    let len = <i32>(at - first);
    if (at == last) return len > this.most + 1 ? Code.INVALID : 0;
    if (len > 0 && load<u8>(at - 1) == 0x0d) len--;
    if (len > this.most) return Code.INVALID;
    this.start = from;
    this.end = from + len;
    return <i32>(at - first) + 1;
  }
}

/** What stands before a delimiter. */
export class Until extends Framing {
  /** `most` is how many bytes may stand before it. */
  constructor(private delimiter: Uint8Array, private most: i32 = 1000) {
    super();
    assert(delimiter.length > 0, "a delimiter has a byte at least");
    this.most = min(most, WINDOW - delimiter.length);
  }

  next(bytes: Uint8Array, from: i32): i32 {
    const size = this.delimiter.length;
    const len = bytes.length - from;
    const first = bytes.dataStart + <usize>from;
    for (let n = 0; n + size <= len && n <= this.most; n++) {
      if (memory.compare(first + <usize>n, this.delimiter.dataStart, size) == 0) {
        this.start = from;
        this.end = from + n;
        return n + size;
      }
    }
    return len < this.most + size ? 0 : Code.INVALID;
  }
}

/** Messages with their length in front, which does not count itself. */
export class Prefixed extends Framing {
  /**
   * `size` is how many bytes the length has: 1, 2 or 4; the greatest is first unless they are
   * `littleEndian`. `most` is how long a message may be.
   */
  constructor(private size: i32, private most: i32 = 4096, private littleEndian: bool = false) {
    super();
    assert(size == 1 || size == 2 || size == 4, "a length has 1, 2 or 4 bytes");
    this.most = min(most, WINDOW - size);
  }

  next(bytes: Uint8Array, from: i32): i32 {
    const there = bytes.length - from;
    if (there < this.size) return 0;
    let len: u32 = 0;
    for (let i = 0; i < this.size; i++) {
      const place = this.littleEndian ? i : this.size - 1 - i;
      len |= <u32>unchecked(bytes[from + i]) << (8 * place);
    }
    if (len > <u32>this.most) return Code.INVALID;
    const whole = this.size + <i32>len;
    if (there < whole) return 0;
    this.start = from + this.size;
    this.end = from + whole;
    return whole;
  }
}

/** Messages that all have as many bytes. */
export class Fixed extends Framing {
  constructor(private size: i32) {
    super();
    assert(size > 0 && size <= WINDOW, "a message has a byte at least, and fits the window");
  }

  next(bytes: Uint8Array, from: i32): i32 {
    if (bytes.length - from < this.size) return 0;
    this.start = from;
    this.end = from + this.size;
    return this.size;
  }
}
