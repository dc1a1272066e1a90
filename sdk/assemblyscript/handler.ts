import { Code } from "./abi";
import { decode } from "./bytes";
import { Conn } from "./conn";
import { Framing, Lines } from "./framing";

/**
 * A protocol, as one connection speaks it: each connection has an object of its own, and what is
 * known of a client is in its fields. The calls are `open`, then `data`, `writable`, `secured` and
 * `timer` in any order, then `eof` at most once, then `closed`. For one that `connect` has begun
 * and that never came up it is `closed` alone. After `Conn.splice` nothing is called.
 *
 * Most protocols need `line`, or `framing` and `message`.
 */
export class Handler {
  /** What `data` cuts into messages by: lines of up to 1000 bytes, unless it is set. */
  framing: Framing = new Lines();

  /** The connection was accepted, or one that `connect` has begun is up. */
  open(c: Conn): void {}

  /**
   * Bytes have come, at least one (over UDP a datagram, which may be empty). They are valid during
   * the call alone: `bytes.slice()` copies them. It answers how many of them, from the first, it is
   * done with, or a code, which closes the connection. The others come again, with more behind
   * them: so half a message is left there. `Code.AGAIN` is as 0.
   *
   * While bytes that `Conn.write` has queued wait, no `data` comes for the connection: a peer that
   * does not read its answers is not served further.
   *
   * Unless it is overridden, it calls `message` for each message.
   */
  data(c: Conn, bytes: Uint8Array): i32 {
    let done = 0;
    while (!c.stops && c.handler === this) {
      const framing = this.framing;
      const n = framing.next(bytes, done);
      if (n < 0) return n;
      if (n == 0) break;
      done += n;
      this.message(c, bytes.subarray(framing.start, framing.end));
    }
    return done;
  }

  /**
   * A message has come, which is valid during the call alone. Unless it is overridden, it calls
   * `line`.
   */
  message(c: Conn, message: Uint8Array): void {
    this.line(c, decode(message));
  }

  /** A message has come, as text. */
  line(c: Conn, text: string): void {
    c.fail(Code.UNSUPPORTED); // a handler has one of data, message and line
  }

  /** The peer has finished sending. Unless it is overridden, it closes the connection. */
  eof(c: Conn): void {
    c.close();
  }

  /** All that `write` has queued is sent, and there is room for more. */
  writable(c: Conn): void {}

  /** The handshake of `makeTlsServer` or `makeTlsClient` is over: 0 where TLS is up, or a code. */
  secured(c: Conn, status: i32): void {}

  /** A timer of `Conn.setTimer` has fired, and is gone. */
  timer(c: Conn, token: i32): void {}

  /** The connection is gone. The reason is 0 for an orderly end, else a code. */
  closed(c: Conn, reason: i32): void {}
}

/**
 * What belongs to no connection. How many connections an instance has is the listener's `instance`;
 * what they share may be here, or in the module's variables.
 */
export class Instance {
  /**
   * The instance has started, and no connection is there yet. A code below 0 refuses to start:
   * `bulkhead check` reports it.
   */
  start(): i32 {
    return Code.OK;
  }

  /** The instance is a copy of one that has started. Draw again what `start` has drawn at random. */
  reseed(): void {}

  /** A timer of `setTimer` has fired, and is gone. */
  timer(token: i32): void {}

  /** The host drains, or a reload has replaced this handler: no new connection comes. */
  stop(): void {}
}
