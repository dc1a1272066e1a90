/** What is allowed. */
export const LONGEST_HEAD = 8192;
export const LONGEST_BODY = 65536;

const CR = 0x0d;
const LF = 0x0a;

/** The head of a request, as far as this server needs it. */
export class Request {
  /** What is wrong with it: the status of the answer; 0 if it can be served. */
  wrong: i32 = 0;
  method: Uint8Array;
  /** The path, without what stands behind a question mark. */
  path: Uint8Array;
  /** Whether the client wants the connection to go on. */
  keepAlive: bool = true;
  /** How many bytes follow the head. */
  body: i32 = 0;
  /** The client sends them when it is told to. */
  waits: bool = false;

  constructor(head: Uint8Array) {
    this.method = this.path = head.subarray(0, 0);
    this.wrong = this.read(head);
  }

  /** Reads a head, with the line ending of its last line. */
  private read(head: Uint8Array): i32 {
    let end = lineEnd(head, 0);
    if (end < 0) return 400;
    const first = head.indexOf(0x20, 0);
    const second = first < 0 ? -1 : head.indexOf(0x20, first + 1);
    if (first < 1 || second < 0 || second > end || second == first + 1) return 400;
    for (let i = 0; i < first; i++) if (!isToken(head[i])) return 400;
    for (let i = first + 1; i < second; i++) if (head[i] < 0x21 || head[i] > 0x7e) return 400;
    this.method = head.subarray(0, first);
    const version = head.subarray(second + 1, end);
    if (version.length != 8 || !begins(version, "HTTP/") || version[6] != 0x2e) return 400;
    const minor = <i32>version[7] - 0x30;
    if (version[5] != 0x31 || minor < 0 || minor > 9) return isDigit(version[5]) && isDigit(version[7]) ? 505 : 400;
    this.keepAlive = minor >= 1;
    this.path = pathOf(head.subarray(first + 1, second));
    if (this.path.length == 0) return 400;

    let hosts = 0;
    let lengths = -1;
    let coded = false;
    for (let at = end + 2; at < head.length; at = end + 2) {
      end = lineEnd(head, at);
      if (end < 0) return 400;
      let colon = at;
      while (colon < end && isToken(head[colon])) colon++;
      if (colon == at || colon == end || head[colon] != 0x3a) return 400; // folded lines, too
      let from = colon + 1;
      let to = end;
      while (from < to && isSpace(head[from])) from++;
      while (to > from && isSpace(head[to - 1])) to--;
      const name = head.subarray(at, colon);
      const value = head.subarray(from, to);
      for (let i = 0; i < value.length; i++) if ((value[i] < 0x20 && value[i] != 0x09) || value[i] == 0x7f) return 400;
      if (same(name, "host")) {
        hosts++;
      } else if (same(name, "content-length")) {
        const n = lengthOf(value);
        if (n < 0 || (lengths >= 0 && n != lengths)) return 400;
        lengths = n;
      } else if (same(name, "transfer-encoding")) {
        coded = true;
      } else if (same(name, "connection")) {
        if (lists(value, "close")) this.keepAlive = false;
        else if (lists(value, "keep-alive") && minor == 0) this.keepAlive = true;
      } else if (same(name, "expect")) {
        this.waits = true;
      }
    }
    if (hosts > 1 || (hosts == 0 && minor >= 1)) return 400;
    // Two lengths would be read differently by others.
    if (coded) return lengths >= 0 ? 400 : 501;
    if (lengths > LONGEST_BODY) return 413;
    this.body = max(lengths, 0);
    return 0;
  }
}

/** Where the line ends that begins at a place: at its CR LF. Below 0 if another CR or LF is first. */
function lineEnd(b: Uint8Array, at: i32): i32 {
  while (at < b.length && unchecked(b[at]) != CR && unchecked(b[at]) != LF) at++;
  return at + 1 < b.length && b[at] == CR && b[at + 1] == LF ? at : -1;
}

/** Of a path, or of an address with a scheme and a name before it; empty if it is neither. */
function pathOf(target: Uint8Array): Uint8Array {
  let from = 0;
  if (begins(target, "http://")) {
    from = target.indexOf(0x2f, 7);
    if (from < 0) return target.subarray(0, 0);
  }
  if (target[from] != 0x2f) return target.subarray(0, 0);
  const query = target.indexOf(0x3f, from);
  return target.subarray(from, query < 0 ? target.length : query);
}

/** A number of bytes; what is too great for this server is as great as it can be. Below 0: none. */
function lengthOf(value: Uint8Array): i32 {
  if (value.length == 0) return -1;
  let n: i64 = 0;
  for (let i = 0; i < value.length; i++) {
    if (!isDigit(value[i])) return -1;
    n = min(n * 10 + (value[i] - 0x30), <i64>i32.MAX_VALUE);
  }
  return <i32>n;
}

function isDigit(c: u8): bool {
  return c >= 0x30 && c <= 0x39;
}

function isSpace(c: u8): bool {
  return c == 0x20 || c == 0x09;
}

function isToken(c: u8): bool {
  if ((c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a) return true;
  if (isDigit(c)) return true;
  switch (c) {
    case 0x21: case 0x23: case 0x24: case 0x25: case 0x26: case 0x27: case 0x2a: case 0x2b:
    case 0x2d: case 0x2e: case 0x5e: case 0x5f: case 0x60: case 0x7c: case 0x7e:
      return true;
  }
  return false;
}

/** Whether bytes are a word of lower case, in either case. */
function same(b: Uint8Array, word: string): bool {
  return b.length == word.length && begins(b, word, 0x20);
}

/** Whether bytes are a word, letter by letter. */
export function exactly(b: Uint8Array, word: string): bool {
  return b.length == word.length && begins(b, word);
}

/** Whether bytes begin with a word; fold is 0x20 where the case does not matter. */
function begins(b: Uint8Array, word: string, fold: u8 = 0): bool {
  if (b.length < word.length) return false;
  for (let i = 0; i < word.length; i++) {
    const c = unchecked(b[i]);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    if ((letter ? c | fold : c) != <u8>word.charCodeAt(i)) return false;
  }
  return true;
}

/** Whether a list with commas has a word. */
function lists(value: Uint8Array, word: string): bool {
  let from = 0;
  for (let i = 0; i <= value.length; i++) {
    if (i < value.length && value[i] != 0x2c) continue;
    let to = i;
    while (from < to && isSpace(value[from])) from++;
    while (to > from && isSpace(value[to - 1])) to--;
    if (same(value.subarray(from, to), word)) return true;
    from = i + 1;
  }
  return false;
}
