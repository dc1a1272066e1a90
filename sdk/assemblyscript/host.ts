// What the host does for an instance.

import * as abi from "./abi";
import { decodeAt, encode } from "./bytes";
import { Json } from "./json";

/** The listener's `[listener.config]` as text: JSON, `{}` if it has none. */
export function configText(): string {
  const len = abi.config(0, 0);
  if (len <= 0) return "{}";
  const bytes = new Uint8Array(len);
  abi.config(bytes.dataStart, len);
  return decodeAt(bytes.dataStart, len);
}

/** The listener's `[listener.config]`: `config().get("greeting").text("hello")`. */
export function config(): Json {
  return Json.parse(configText());
}

/**
 * Writes one line to the tenant's log, at `LOG_DEBUG` to `LOG_ERROR`. What is longer than 1024
 * bytes is cut, and lines above the tenant's rate are dropped.
 */
export function log(level: i32, line: string): void {
  const bytes = encode(line);
  abi.log(level, bytes.dataStart, bytes.length);
}

/**
 * Adds to one of the tenant's metrics. A name is 1 to 64 of `a` to `z`, `0` to `9` and `_`, and a
 * tenant has at most 100. It answers a code.
 */
export function count(name: string, n: i64 = 1): i32 {
  const bytes = encode(name);
  return abi.count(bytes.dataStart, bytes.length, n);
}

/** Random bytes that are fit for keys. */
export function random(n: i32): Uint8Array {
  const bytes = new Uint8Array(n);
  abi.random(bytes.dataStart, n);
  return bytes;
}

/** The time of day in nanoseconds since 1970-01-01 UTC. It may jump. */
export function now(): i64 {
  return abi.clock(abi.CLOCK_WALL);
}

/** The nanoseconds since some moment, which never go back. Timers use them. */
export function monotonic(): i64 {
  return abi.clock(abi.CLOCK_MONOTONIC);
}

/**
 * Has `Instance.timer` called once, with the token, after so many milliseconds. A timer with the
 * same token is moved. It answers a code: `Code.QUOTA` where the instance has `MAX_TIMERS`.
 */
export function setTimer(token: i32, ms: i32): i32 {
  return abi.timer(-1, token, max(ms, 1));
}

/** Takes a timer of `setTimer` back. There need be none. */
export function clearTimer(token: i32): void {
  abi.timer(-1, token, -1);
}
