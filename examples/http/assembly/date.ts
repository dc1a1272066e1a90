import { now } from "../bulkhead";

const DAYS = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1970 began on the first
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

let second: i64 = -1;
let written = "";

function two(n: i64): string {
  return n.toString().padStart(2, "0");
}

/** The value of a Date header. It is put together once a second. */
export function date(): string {
  const at = now() / 1000000000;
  if (at == second) return written;
  second = at;
  const day = at / 86400;
  // The year begins in March, so that a leap day is its last one.
  const era = day + 719468;
  const cycle = era % 146097;
  const year = (cycle - cycle / 1460 + cycle / 36524 - cycle / 146096) / 365;
  const ofYear = cycle - (365 * year + year / 4 - year / 100);
  const month = (5 * ofYear + 2) / 153;
  const ofMonth = ofYear - (153 * month + 2) / 5 + 1;
  const january = <i32>((month + 2) % 12);
  const y = year + (era / 146097) * 400 + (january < 2 ? 1 : 0);
  written = `${DAYS[<i32>(day % 7)]}, ${two(ofMonth)} ${MONTHS[january]} ${y} ${two((at / 3600) % 24)}:${two((at / 60) % 60)}:${two(at % 60)} GMT`;
  return written;
}
