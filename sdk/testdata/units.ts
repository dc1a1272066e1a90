// What needs no connection is tested when the instance starts; an assertion's line is in the log.
import { Code, Conn, decode, encode, Fixed, Framing, Handler, Instance, Json, Lines, Prefixed, Reader, serve, Until, WINDOW, Writer } from "../bulkhead";
export * from "../bulkhead/exports";

function bytes(...hex: i32[]): Uint8Array {
  const b = new Uint8Array(hex.length);
  for (let i = 0; i < hex.length; i++) b[i] = <u8>hex[i];
  return b;
}

/** What a framing finds behind two other bytes: how much it takes up, and the message. */
function found(f: Framing, text: string): string {
  const n = f.next(encode("//" + text), 2);
  return n <= 0 ? n.toString() : `${n} ${decode(encode("//" + text).subarray(f.start, f.end))}`;
}

function framings(): void {
  assert(found(new Lines(10), "ab\r\ncd") == "4 ab");
  assert(found(new Lines(2), "ab\ncd") == "3 ab");
  assert(found(new Lines(2), "ab\r\n") == "4 ab");
  assert(found(new Lines(0), "\n") == "1 ");
  assert(found(new Lines(2), "ab") == "0");
  assert(found(new Lines(2), "ab\r") == "0");
  assert(found(new Lines(2), "abcd") == Code.INVALID.toString());
  assert(found(new Lines(2), "abc\n") == Code.INVALID.toString());
  assert(found(new Until(encode("--"), 5), "ab--cd") == "4 ab");
  assert(found(new Until(encode("--"), 2), "ab-") == "0");
  assert(found(new Until(encode("--"), 2), "ab--") == "4 ab");
  assert(found(new Until(encode("--"), 2), "abc-") == Code.INVALID.toString());
  assert(found(new Until(encode("--"), 2), "abc--") == Code.INVALID.toString());
  assert(found(new Prefixed(1, 9), "\x02abc") == "3 ab");
  assert(found(new Prefixed(2, 9), "\x00\x01a") == "3 a");
  assert(found(new Prefixed(2, 9, true), "\x01\x00a") == "3 a");
  assert(found(new Prefixed(4, 9), "\x00\x00\x00\x01a") == "5 a");
  assert(found(new Prefixed(4, 9, true), "\x01\x00\x00\x00a") == "5 a");
  assert(found(new Prefixed(4, 9), "\x00\x00\x00\x02a") == "0");
  assert(found(new Prefixed(4, 9), "\x00\x00") == "0");
  assert(new Prefixed(4, 9).next(bytes(0xff, 0xff, 0xff, 0xff), 0) == Code.INVALID);
  assert(found(new Fixed(3), "abcd") == "3 abc");
  assert(found(new Fixed(3), "ab") == "0");
  // What cannot fit into the window is refused, and not waited for.
  assert(new Lines(i32.MAX_VALUE).next(new Uint8Array(WINDOW), 0) == Code.INVALID);
  assert(new Until(encode("-"), i32.MAX_VALUE).next(new Uint8Array(WINDOW), 0) == Code.INVALID);
  assert(new Prefixed(4, i32.MAX_VALUE).next(bytes(0, 1, 0, 0), 0) == Code.INVALID);
}

function numbers(): void {
  const w = new Writer(1);
  w.u8(0x01).u16(0x0203).u16le(0x0504).u32(0x06070809).u32le(0x0d0c0b0a);
  w.u64(0x0e0f101112131415).u64le(0x1d1c1b1a19181716).bytes(bytes(0x1e)).text("é");
  assert(w.length == 32);
  for (let i = 0; i < 30; i++) assert(w.written[i] == i + 1);
  const r = new Reader(w.written);
  assert(r.u8() == 0x01 && r.u16() == 0x0203 && r.u16le() == 0x0504);
  assert(r.u32() == 0x06070809 && r.u32le() == 0x0d0c0b0a);
  assert(r.u64() == 0x0e0f101112131415 && r.u64le() == 0x1d1c1b1a19181716);
  assert(r.bytes(1)[0] == 0x1e && r.text(2) == "é" && r.left == 0 && r.ok);
  assert(r.u8() == 0 && !r.ok);
  const short = new Reader(bytes(1, 2, 3));
  assert(short.u32() == 0 && !short.ok && short.u8() == 0 && short.bytes(-1).length == 0 && short.text(1) == "");
  assert(w.clear().length == 0);
}

function texts(): void {
  assert(decode(encode("aé€😀")) == "aé€😀");
  assert(decode(bytes()) == "");
  for (let i = 0; i < 256; i++) {
    const s = decode(bytes(i, 0x41)); // whatever stands before it, a letter is read
    assert(s.length == 2 && s.charCodeAt(0) == (i < 0x80 ? i : 0xfffd) && s.charCodeAt(1) == 0x41);
  }
  assert(decode(bytes(0xc0, 0x80)) == "\ufffd\ufffd"); // longer than it need be
  assert(decode(bytes(0xed, 0xa0, 0x80)) == "\ufffd\ufffd\ufffd"); // half a pair
  assert(decode(bytes(0xf4, 0x90, 0x80, 0x80)) == "\ufffd\ufffd\ufffd\ufffd"); // above the greatest
  assert(decode(bytes(0xf0, 0x9f, 0x98)) == "\ufffd\ufffd\ufffd"); // cut off
}

function json(): void {
  const v = Json.parse(' {"a" : [1, -2.5e1, true, null, "x\\n\\u00e9\\"\\\\/"], "b": {"c": "d"}, "e": {}, "f": [], "b2": 9223372036854775807} ');
  assert(v.exists && v.length == 5 && v.keys[1] == "b");
  const a = v.get("a");
  assert(a.length == 5 && a.at(0).integer() == 1 && a.at(1).number() == -25 && a.at(1).integer(7) == 7);
  assert(a.at(2).flag() && a.at(3).exists && a.at(4).text() == "x\né\"\\/");
  assert(!a.at(5).exists && !a.at(-1).exists && a.at(0).text("z") == "z");
  assert(v.get("b").get("c").text() == "d" && v.get("no").get("c").text("z") == "z");
  assert(v.get("e").exists && v.get("f").length == 0 && v.get("b2").integer() == i64.MAX_VALUE);
  const wrong = ["", "{", "[", '{"a"', '{"a":', '{"a":1', "[1,", "[1,]", "{,}", '"a', '"\\', '"\\u12', '"\\x"', "1 2", "tru", "{1:2}", "[1}"];
  for (let i = 0; i < wrong.length; i++) assert(!Json.parse(wrong[i]).exists, wrong[i]);
  assert(!Json.parse("[".repeat(100000)).exists);
  assert(Json.parse("[".repeat(60) + "]".repeat(60)).exists);
}

class Units extends Instance {
  start(): i32 {
    framings();
    numbers();
    texts();
    json();
    return Code.OK;
  }
}

class Says extends Handler {
  open(c: Conn): void {
    c.writeText("all hold\r\n");
    c.close();
  }
}

serve((): Handler => new Says(), new Units());
