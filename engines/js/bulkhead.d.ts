// What handlers in TypeScript and JavaScript have besides the language: docs/JAVASCRIPT.md
// describes it. Put this file beside a handler, where its tsconfig.json or editor finds it. A test
// compares the names in here with those of the engine.

/** Text, which is sent as UTF-8, or bytes. */
type Bytes = string | Uint8Array | ArrayBuffer;

/** How an operation or a connection has ended. */
type Code =
  | "OK" | "INVALID" | "BAD_HANDLE" | "AGAIN" | "CLOSED" | "DENIED" | "QUOTA" | "NOT_FOUND"
  | "UNSUPPORTED" | "TIMEOUT" | "REFUSED" | "UNREACHABLE" | "TLS" | "RESET" | "CONFLICT";

/** What the host has refused to do. */
interface CodeError extends Error {
  readonly code: Code;
}

/**
 * The default export of a handler. State is what the handler keeps in its connections:
 *
 *     interface State { name?: string }
 *     export default { line(c, text) { c.name = text; } } satisfies Handler<State>;
 */
interface Handler<State = {}> {
  /** The script has been loaded. There is no connection yet, and no timeout. */
  start?(config: any): unknown;
  /** A connection has begun. false refuses it. */
  open?(c: Connection<State>): unknown;
  /** Bytes have come. It returns how many it has consumed, or nothing if all. */
  data?(c: Connection<State>, bytes: Uint8Array): number | void | Promise<unknown>;
  /** A line has come, without its end. With lineBytes it is a Uint8Array. */
  line?(c: Connection<State>, text: string): unknown;
  /** A message has come, with its length in front: see frameLength. */
  frame?(c: Connection<State>, bytes: Uint8Array): unknown;
  /** The peer has finished sending. */
  eof?(c: Connection<State>): unknown;
  /** All is sent, after send has answered false. */
  writable?(c: Connection<State>): unknown;
  /** The handshake of secure is over. */
  secured?(c: Connection<State>, result: Code): unknown;
  /** A timer of c.timer has fired. */
  timer?(c: Connection<State>, token: number): unknown;
  /** The connection has ended. */
  closed?(c: Connection<State>, reason: Code): unknown;
  /** The host is draining. */
  stop?(): unknown;

  /** Bytes of a line; a longer one closes the connection. 8192, and at most 65534. */
  lineLimit?: number;
  /** Lines are a Uint8Array, and not text. Declare line with `text: any` then. */
  lineBytes?: boolean;
  /** How frame finds the length of a message. */
  frameLength?: {
    /** Bytes of the length. */
    bytes: 1 | 2 | 4;
    /** The lowest byte comes first. */
    little?: boolean;
    /** The length counts its own bytes, too. */
    whole?: boolean;
  };
  /** Bytes of a frame; a longer one closes the connection. 65536 at most. */
  frameLimit?: number;
  /** Bytes that may wait to be sent; send throws beyond. 262144. */
  queueLimit?: number;
}

/** A connection, and what a handler keeps in it. */
type Connection<State = {}> = BasicConnection<State> & State;

interface BasicConnection<State = {}> {
  /** Sends. false: something waits, or the connection takes nothing any more. */
  send(what: Bytes): boolean;
  /** Closes when all is sent. */
  close(): void;
  /** Says that nothing more is sent, when all is sent. */
  end(): void;
  /** Closes now. */
  abort(): void;
  /** Stops reading. */
  pause(): void;
  /** Reads again. */
  resume(): void;
  /** Has timer called after this many ms. A negative number cancels it. */
  timer(token: number, ms: number): void;
  /** Begins TLS; secured follows. It throws AGAIN while unencrypted bytes wait to be sent. */
  secure(role: "server"): void;
  secure(role: "client", name: string): void;
  /** Joins the two: the host relays, and the handler sees nothing more. */
  splice(other: BasicConnection<any>): void;
  /** How many bytes wait to be sent. */
  readonly waiting: number;
  /** The object with the functions for this connection. */
  handler: Handler<State>;
  readonly peer: string;
  readonly local: string;
  readonly listener: string;
  readonly tenant: string;
  readonly transport: string;
  readonly serverName: string;
  readonly alpn: string;
  readonly tlsVersion: string;
  readonly cipher: string;
  readonly clientSubject: string;
  readonly clientNames: string;
  readonly clientFingerprint: string;
  readonly certificate: string;
  /** Over WebSocket: what the last message was; "" before the first one. */
  readonly messageType: "text" | "binary" | "";
  /** Over WebSocket: the path and query that the client has asked for. */
  readonly target: string;
  /** Over WebSocket: where the client's page is from; "" for a client that is no browser. */
  readonly origin: string;
  /** Over WebSocket: the subprotocol that both sides have agreed on. */
  readonly subprotocol: string;
}

/** Writes a line of the log. */
interface Log {
  (...what: unknown[]): void;
  debug(...what: unknown[]): void;
  info(...what: unknown[]): void;
  warn(...what: unknown[]): void;
  error(...what: unknown[]): void;
  log(...what: unknown[]): void;
}

interface Encoding {
  encode(what: Bytes): string;
  /** Throws what is no such text. */
  decode(text: string): Uint8Array;
}

interface Checksums {
  x25(what: Bytes): number;
  modbus(what: Bytes): number;
  xmodem(what: Bytes): number;
  ccitt(what: Bytes): number;
  crc32(what: Bytes): number;
}

interface Hashes {
  md5(what: Bytes): Uint8Array;
  sha1(what: Bytes): Uint8Array;
  sha256(what: Bytes): Uint8Array;
  sha512(what: Bytes): Uint8Array;
}

interface AuthenticationCodes {
  md5(key: Bytes, what: Bytes): Uint8Array;
  sha1(key: Bytes, what: Bytes): Uint8Array;
  sha256(key: Bytes, what: Bytes): Uint8Array;
  sha512(key: Bytes, what: Bytes): Uint8Array;
}

/** The listener's config. */
declare const config: any;
declare const log: Log;
declare const console: Log;
/** Adds n, or 1, to a metric. */
declare function count(name: string, n?: number): void;
/** Connects, and throws a CodeError if that fails. Without functions nobody reads. */
declare function dial<State = {}>(address: string, functions?: Handler<State>): Promise<Connection<State>>;
declare function setTimeout<Args extends unknown[]>(f: (...args: Args) => unknown, ms?: number, ...args: Args): number;
declare function clearTimeout(id: number): void;
declare function sleep(ms: number): Promise<void>;

/** The bytes of text, as UTF-8; a copy of bytes. */
declare function bytes(what: Bytes): Uint8Array;
/** The text of bytes that are UTF-8. */
declare function text(what: Bytes): string;
declare function concat(...parts: Bytes[]): Uint8Array;
/** Fields: `>` or `<`, then b B h H i I q Q f d, s for bytes and x for a byte to skip. */
declare function pack(format: string, ...values: (number | bigint | Bytes)[]): Uint8Array;
/** Numbers; q and Q are bigint, and s is a Uint8Array. */
declare function unpack(format: string, from: Uint8Array, start?: number): any[];
declare const base64: Encoding;
declare const hex: Encoding;
declare const crc: Checksums;
declare const hash: Hashes;
declare const hmac: AuthenticationCodes;
/** The hash of what comes in parts. */
declare class Hash {
  constructor(name: keyof Hashes);
  update(what: Bytes): this;
  digest(): Uint8Array;
}
/** Whether they are the same, in a time that does not show where they differ. */
declare function equal(a: Bytes, b: Bytes): boolean;
/** Random bytes that are good enough for keys. */
declare function randomBytes(n: number): Uint8Array;
