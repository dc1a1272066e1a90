import * as abi from "./abi";
import { Code } from "./abi";
import { decodeAt, encode } from "./bytes";
import { Handler } from "./handler";

/** How many bytes `Conn.write` queues for a connection, unless `writeLimit` says otherwise. */
export const DEFAULT_WRITE_LIMIT: i32 = 65536;

/** How many bytes the length of a message takes in a queue. */
const MARK: i32 = 4;

/** The connections that are there, by the numbers that the host knows them by. */
export const connections = new Map<i32, Conn>();

/**
 * Starts to dial an address that the tenant may: `tcp://host:port`, `tls://host:port`,
 * `udp://host:port` or `unix:///path`. The handler is the new connection's: its `open` is called
 * when that is up, or `closed` alone when it fails. `result` of what comes back is below 0 where
 * nothing was begun: `Code.DENIED` where the address is not on the tenant's list.
 */
export function connect(address: string, handler: Handler): Conn {
  const bytes = encode(address);
  const result = abi.connect(bytes.dataStart, bytes.length);
  const c = new Conn(result, handler, true);
  c.messages = address.startsWith("udp:") ? 1 : 0;
  if (result > 0) connections.set(result, c);
  return c;
}

/**
 * A connection. Once `Handler.closed` was called for it, its functions answer `Code.BAD_HANDLE` or
 * do nothing.
 */
export class Conn {
  /** How many bytes `write` may queue. */
  writeLimit: i32 = DEFAULT_WRITE_LIMIT;
  /**
   * Whether each send is a message: so in the queue, behind its length. -1: it is not known yet. It
   * is for this file alone.
   */
  messages: i32 = -1;

  private queue: Uint8Array = new Uint8Array(0);
  private from: i32 = 0; // of what is queued
  private to: i32 = 0;
  private last: i32 = -1; // what control is told when the queue is empty
  private finished: bool = false; // the handler sends no more
  private closing: bool = false; // nor does it want more
  private securing: bool = false; // since a moment ago
  private over: bool = false;
  private failure: i32 = 0; // why it is to be closed, from within a callback
  private inCallback: bool = false; // one whose result can be a code

  constructor(
    /** The number by which the host knows it, which logs have too. */
    public readonly handle: i32,
    /** Whose callbacks are called. It may be changed: a protocol may have phases. */
    public handler: Handler,
    /** Whether `connect` has made it. */
    public readonly dialled: bool,
  ) {}

  /** 0, or the code of a `connect` that has begun nothing. */
  get result(): i32 {
    return min(this.handle, 0);
  }

  /** Whether it is there, and the handler has not closed it. */
  get isOpen(): bool {
    return !this.over && !this.closing && this.handle > 0;
  }

  /** How many bytes `write` has queued and the inbox has not taken yet. */
  get queued(): i32 {
    return this.to - this.from;
  }

  /**
   * Sends all of the bytes: what the inbox has no room for is queued and sent later. They may be
   * used again at once. If the queue would grow beyond `writeLimit`, since the peer takes less than
   * it is sent, the connection fails with `Code.QUOTA`: nothing is lost unseen. It answers a code,
   * which need not be looked at. Over WebSocket and UDP each `write` is one message, also where it
   * has to wait; in the queue it takes `queued` 4 bytes more.
   */
  write(bytes: Uint8Array): i32 {
    return this.failUnless(this.put(bytes.dataStart, bytes.length));
  }

  /** The same for a text, in UTF-8. */
  writeText(text: string): i32 {
    return this.write(encode(text));
  }

  /**
   * The same, but all or nothing: with `Code.QUOTA` nothing was taken, and the connection goes on.
   */
  tryWrite(bytes: Uint8Array): i32 {
    return this.put(bytes.dataStart, bytes.length);
  }

  /**
   * Sends what the inbox has room for, and answers how much that was: the other bytes are the
   * caller's, and lost if it does not look. `Code.AGAIN`: there was no room at all; `writable` says
   * when there is. Over UDP the bytes are one datagram, taken whole or not at all. Not while
   * `queued` is above 0.
   */
  send(bytes: Uint8Array): i32 {
    return this.over ? Code.BAD_HANDLE : abi.send(this.handle, bytes.dataStart, bytes.length);
  }

  /** Sends what is queued, and then closes the connection. */
  close(): void {
    this.closing = true;
    this.finish(abi.PRODUCER_FINISHED);
  }

  /** Sends what is queued, and then tells the peer that no more comes. Receiving goes on. */
  finishSending(): void {
    this.finish(abi.FINISH_SENDING);
  }

  /** Closes the connection now, and drops what is not sent yet. */
  abort(): void {
    if (this.over) return;
    this.closing = true;
    this.finished = true;
    abi.control(this.handle, abi.SHUTDOWN_MICROPROCESS);
  }

  /**
   * Closes the connection now, since something is wrong. From `open`, `data`, `message` and `line`
   * the code is the reason of the close; `Code.REFUSED` in `open` is for one that is not wanted.
   * From elsewhere the reason is `INVALID`.
   */
  fail(code: i32): void {
    if (this.over) return;
    this.closing = true;
    this.finished = true;
    if (this.inCallback) this.failure = code < 0 ? code : Code.INVALID;
    else abi.control(this.handle, abi.HANDLER_FAILED);
  }

  /** Makes the peer wait: no bytes come until `resume`. */
  pause(): void {
    if (!this.over) abi.receive(this.handle, 0);
  }

  /** Has bytes come again, those that were left first. */
  resume(): void {
    if (!this.over) abi.receive(this.handle, 1);
  }

  /**
   * Has no `data` come before so many bytes are there, or the peer has finished. It stays until it
   * is changed; 1 is the beginning. It answers a code.
   */
  want(bytes: i32): i32 {
    return this.over ? Code.BAD_HANDLE : abi.want(this.handle, bytes);
  }

  /**
   * Has `Handler.timer` called once, with the token, after so many milliseconds. A timer of the
   * connection with the same token is moved; all end with it. It answers a code.
   */
  setTimer(token: i32, ms: i32): i32 {
    return this.over ? Code.BAD_HANDLE : abi.timer(this.handle, token, max(ms, 1));
  }

  /** Takes a timer back. There need be none. */
  clearTimer(token: i32): void {
    if (!this.over) abi.timer(this.handle, token, -1);
  }

  /**
   * Starts TLS with the peer as its client, with the listener's certificate. What was sent before
   * leaves in the clear. `Handler.secured` says how it went. It answers a code. In `data`, return
   * right after it: bytes that are left would be taken for encrypted ones, and the host closes the
   * connection. In `message` and `line` that is done already.
   */
  makeTlsServer(): i32 {
    return this.over ? Code.BAD_HANDLE : this.handshake(abi.makessl(this.handle, abi.TLS_SERVER, 0, 0));
  }

  /** Starts TLS with the peer as its server, whose certificate must have the name. */
  makeTlsClient(name: string): i32 {
    if (this.over) return Code.BAD_HANDLE;
    const bytes = encode(name);
    return this.handshake(abi.makessl(this.handle, abi.TLS_CLIENT, bytes.dataStart, bytes.length));
  }

  /**
   * Has the host relay all bytes between two connections from here on. Both are gone from the
   * handlers. It answers a code: with `Code.AGAIN` something that `write` has queued waits still,
   * or one is not up yet; try again in `writable`.
   */
  splice(other: Conn): i32 {
    if (this.over || other.over) return Code.BAD_HANDLE;
    if (this.queued > 0 || other.queued > 0) return Code.AGAIN;
    const result = abi.splice(this.handle, other.handle);
    if (result >= 0) {
      this.forget();
      other.forget();
    }
    return result;
  }

  /** What the host knows about it under one of the keys `INFO_PEER` and so on; "" if nothing. */
  info(key: i32): string {
    const len = this.over ? 0 : abi.info(this.handle, key, 0, 0);
    if (len <= 0) return "";
    const bytes = new Uint8Array(len);
    abi.info(this.handle, key, bytes.dataStart, len);
    return decodeAt(bytes.dataStart, len);
  }

  /** The address of the peer: `ip:port`, or the path of a Unix socket, which may be empty. */
  get peer(): string { return this.info(abi.INFO_PEER); }
  /** The address that the peer has connected to, written likewise. */
  get local(): string { return this.info(abi.INFO_LOCAL); }
  /** The name of the listener, with `/` and the name of its route where it took one. */
  get listener(): string { return this.info(abi.INFO_LISTENER); }
  /** The name of the tenant. */
  get tenant(): string { return this.info(abi.INFO_TENANT); }
  /** `tcp`, `unix`, `udp` or `ws` (WebSocket, with TLS or without). */
  get transport(): string { return this.info(abi.INFO_TRANSPORT); }
  /** The name that the TLS client has asked for. */
  get serverName(): string { return this.info(abi.INFO_SERVER_NAME); }
  /** The application protocol that both sides have agreed on. */
  get alpn(): string { return this.info(abi.INFO_ALPN); }
  /** `TLS 1.2` or `TLS 1.3`. */
  get tlsVersion(): string { return this.info(abi.INFO_TLS_VERSION); }
  /** The name of the cipher suite, as IANA writes it. */
  get cipher(): string { return this.info(abi.INFO_CIPHER); }
  /** The subject of the client's certificate, which the host has verified. */
  get clientSubject(): string { return this.info(abi.INFO_CLIENT_SUBJECT); }
  /** The names that the client's certificate is made out to, a line each. */
  get clientNames(): string { return this.info(abi.INFO_CLIENT_NAMES); }
  /** The SHA-256 of the client's certificate, in hex. */
  get clientFingerprint(): string { return this.info(abi.INFO_CLIENT_FINGERPRINT); }
  /** Whether `makeTlsServer` would find a certificate. */
  get hasCertificate(): bool { return this.info(abi.INFO_CERTIFICATE).length > 0; }
  /** Over WebSocket: `text` or `binary`, what the last message was. */
  get messageType(): string { return this.info(abi.INFO_MESSAGE); }
  /** Over WebSocket: the path and query that the client has asked for. */
  get target(): string { return this.info(abi.INFO_TARGET); }
  /** Over WebSocket: where the client's page is from; "" for a client that is no browser. */
  get origin(): string { return this.info(abi.INFO_ORIGIN); }
  /** Over WebSocket: the subprotocol that both sides have agreed on. */
  get subprotocol(): string { return this.info(abi.INFO_SUBPROTOCOL); }

  private put(at: usize, len: i32): i32 {
    if (this.over || this.handle <= 0) return Code.BAD_HANDLE;
    if (this.finished) return Code.CLOSED;
    if (this.queued + len > this.writeLimit) return Code.QUOTA;
    let done = 0;
    const waiting = this.queued;
    while (waiting == 0) {
      // A short answer is asked again: AGAIN promises that room is told of.
      const n = abi.send(this.handle, at + <usize>done, len - done);
      if (n == Code.AGAIN) break;
      if (n < 0) return n;
      done += n;
      if (done == len) return Code.OK;
    }
    const rest = len - done;
    const mark = this.mark();
    if (waiting > 0 && waiting + mark + rest > this.writeLimit) return Code.QUOTA;
    if (this.to + mark + rest > this.queue.length) {
      let room = this.queue;
      const all = waiting + mark + rest;
      if (all > room.length) room = new Uint8Array(max(2 * room.length, max(all, 1024)));
      memory.copy(room.dataStart, this.queue.dataStart + <usize>this.from, waiting);
      this.queue = room;
      this.from = 0;
      this.to = waiting;
    }
    if (mark > 0) store<i32>(this.queue.dataStart + <usize>this.to, rest);
    memory.copy(this.queue.dataStart + <usize>(this.to + mark), at + <usize>done, rest);
    this.to += mark + rest;
    return Code.OK;
  }

  /** How many bytes stand before each message in the queue: none where they are a stream. */
  private mark(): i32 {
    if (this.messages < 0) {
      const transport = this.transport;
      this.messages = transport == "udp" || transport == "ws" ? 1 : 0;
    }
    return this.messages * MARK;
  }

  private failUnless(result: i32): i32 {
    if (result < 0 && result != Code.CLOSED && result != Code.BAD_HANDLE) this.fail(result);
    return result;
  }

  private finish(what: i32): void {
    if (this.over || this.handle <= 0) return;
    this.finished = true;
    if (this.queued > 0) this.last = what;
    else abi.control(this.handle, what);
  }

  private handshake(result: i32): i32 {
    if (result >= 0) this.securing = true;
    return result;
  }

  // What is below is for exports.ts and handler.ts alone.

  /** Whether the handler is given no more messages in this call. */
  get stops(): bool {
    return this.closing || this.securing || this.over || this.queued > 0;
  }

  /** Whether the handler wants nothing more of it. */
  get isClosing(): bool {
    return this.closing;
  }

  /** A callback begins whose result can be a code. */
  begin(): void {
    this.inCallback = true;
    this.securing = false;
    this.failure = 0;
  }

  /** It ends: the code with which the connection is to be closed, or `result`. */
  end(result: i32): i32 {
    this.inCallback = false;
    return this.failure < 0 ? this.failure : result;
  }

  /** Sends what is queued, and answers whether none of it waits any more. */
  flush(): bool {
    while (this.queued > 0) {
      const mark = this.mark();
      const at = this.queue.dataStart + <usize>this.from;
      const len = mark > 0 ? load<i32>(at) : this.queued;
      const n = abi.send(this.handle, at + <usize>mark, len);
      if (n == Code.AGAIN) return false;
      if (n < 0) {
        this.last = abi.SHUTDOWN_MICROPROCESS;
        break;
      }
      this.from += n;
      if (n == len) this.from += mark;
      else if (mark > 0) store<i32>(at + <usize>n, len - n); // what is left is a message of its own
    }
    this.from = 0;
    this.to = 0;
    // A connection that has sent much and is idle keeps no more than a little.
    if (this.queue.length > 4096) this.queue = new Uint8Array(0);
    if (this.last >= 0) {
      abi.control(this.handle, this.last);
      this.last = -1;
    }
    return true;
  }

  /** Nothing can be said of it any more. */
  forget(): void {
    this.over = true;
    connections.delete(this.handle);
  }
}
