// What happens when something is thrown. This file imports none that has variables to set: the
// compiler sets those before it has set the collector's, where this leads to them.

import { LOG_ERROR } from "./abi";
import { log } from "./host";

/**
 * What is called where something is thrown, or an assertion or the library fails: asconfig.json
 * says so. It ends the instance with all its connections. It is given addresses, and not texts, and
 * does the rest elsewhere, so that it needs nothing of the stack that may have overflown.
 */
export function aborted(message: usize, file: usize, line: u32, column: u32): void {
  if (!dying) {
    dying = true;
    lastWords(changetype<string | null>(message), changetype<string | null>(file), line, column);
  }
  unreachable();
}

let dying = false;

function lastWords(message: string | null, file: string | null, line: u32, column: u32): void {
  log(LOG_ERROR, (message ? message : "aborted") + ", at " + (file ? file : "?") + ":" + line.toString() + ":" + column.toString());
}
