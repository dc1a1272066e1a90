// A guest in AssemblyScript that aborts or traps, by the verb that it is sent.
@external("csa_v1", "send")
declare function send(conn: i32, bytes: usize, len: i32): i32;
@external("csa_v1", "log")
declare function log(level: i32, text: usize, len: i32): i32;

const ERROR = 3;

const window = memory.data(4096, 16);

export function csa_window(): i64 {
  return (<i64>window << 32) | 4096;
}

// The compiler is told to have this called where something is thrown.
export function aborted(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = String.UTF8.encode(`${message} at ${file}:${line}:${column}`);
  log(ERROR, changetype<usize>(text), text.byteLength);
  unreachable();
}

// The compiler inlines this, and has no way to say so: names are those of the functions that are
// left.
function lookUp(names: StaticArray<i32>, n: i32): i32 {
  return names[n];
}

export function csa_data(conn: i32, len: i32): i32 {
  const verb = String.UTF8.decodeUnsafe(window, len);
  if (verb == "index") return lookUp([1, 2, 3], len);
  if (verb == "throw") throw new Error("no such verb: " + verb); // at: throw
  if (verb == "trap") return load<i32>(0xfffffff0);
  return send(conn, window, len);
}
