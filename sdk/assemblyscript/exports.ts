// What the host calls. A handler's own file says: export * from "../bulkhead/exports";

import { Code } from "./abi";
import { Conn, connections } from "./conn";
import { WINDOW } from "./framing";
import { Handler } from "./handler";
import { accept, instance } from "./serve";
import "./abort";

/** Where the host lays bytes that have come. It never moves. */
const bytes = new ArrayBuffer(WINDOW);

export function csa_window(): i64 {
  return ((<i64>changetype<usize>(bytes)) << 32) | <i64>WINDOW;
}

export function csa_start(): i32 {
  return instance.start();
}

export function csa_reseed(): void {
  instance.reseed();
}

/** The connection of a handle. One that is not known yet was accepted. */
function connection(handle: i32): Conn {
  if (connections.has(handle)) return connections.get(handle);
  const c = new Conn(handle, accept(), false);
  connections.set(handle, c);
  return c;
}

export function csa_open(handle: i32): i32 {
  const c = connection(handle);
  c.flush();
  c.begin();
  c.handler.open(c);
  return c.end(Code.OK);
}

export function csa_data(handle: i32, len: i32): i32 {
  const c = connection(handle);
  if (!c.flush()) return 0;
  if (c.isClosing) return len;
  c.begin();
  let done = 0;
  let handler: Handler;
  do {
    handler = c.handler;
    const n = handler.data(c, Uint8Array.wrap(bytes, done, len - done));
    if (n < 0 && n != Code.AGAIN) return c.end(n);
    done += max(n, 0);
    // A handler that has handed over to another one leaves the rest to that.
  } while (c.handler !== handler && done < len && !c.stops);
  return c.end(c.isClosing ? len : done);
}

export function csa_writable(handle: i32): void {
  const c = connection(handle);
  if (c.flush() && !c.isClosing) c.handler.writable(c);
}

export function csa_secured(handle: i32, status: i32): void {
  const c = connection(handle);
  if (status == 0) c.flush();
  c.handler.secured(c, status);
}

export function csa_eof(handle: i32): void {
  const c = connection(handle);
  if (!c.isClosing) c.handler.eof(c);
}

export function csa_closed(handle: i32, reason: i32): void {
  const c = connection(handle);
  c.forget();
  c.handler.closed(c, reason);
}

export function csa_timer(handle: i32, token: i32): void {
  if (handle < 0) {
    instance.timer(token);
    return;
  }
  const c = connection(handle);
  if (!c.isClosing) c.handler.timer(c, token);
}

export function csa_stop(): void {
  instance.stop();
}
