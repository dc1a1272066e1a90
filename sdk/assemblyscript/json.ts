// Configurations: JSON that is read.

/** How deep values may stand in each other. */
const DEEPEST = 64;

const enum Kind { Missing, Null, Flag, Number, Text, List, Table }

/**
 * A value of JSON. One that is not there, or that is of another kind, answers what the caller says
 * is the default; so `config().get("limits").get("lines").integer(100)` needs no checks.
 */
export class Json {
  private kind: Kind = Kind.Missing;
  private written: string = ""; // a number's digits, and a text
  private flag_: bool = false;
  private items: Array<Json> = [];
  private names: Array<string> = [];

  /** Reads a text. What is no JSON is a value that is not there. */
  static parse(text: string): Json {
    const p = new Parser(text);
    const v = p.value(0);
    p.space();
    return p.ok && p.atEnd() ? v : new Json();
  }

  /** Whether there is such a value. */
  get exists(): bool {
    return this.kind != Kind.Missing;
  }

  /** The value of a table's key. */
  get(name: string): Json {
    const i = this.names.lastIndexOf(name);
    return i < 0 ? new Json() : this.items[i];
  }

  /** The value of a list at a place, from 0. */
  at(i: i32): Json {
    return i < 0 || i >= this.items.length ? new Json() : this.items[i];
  }

  /** How many values a list or a table has. */
  get length(): i32 {
    return this.items.length;
  }

  /** The keys of a table. */
  get keys(): Array<string> {
    return this.names;
  }

  text(byDefault: string = ""): string {
    return this.kind == Kind.Text ? this.written : byDefault;
  }

  flag(byDefault: bool = false): bool {
    return this.kind == Kind.Flag ? this.flag_ : byDefault;
  }

  number(byDefault: f64 = 0): f64 {
    return this.kind == Kind.Number ? parseFloat(this.written) : byDefault;
  }

  /** A number without a fraction; one that has one, or that is too great, is none. */
  integer(byDefault: i64 = 0): i64 {
    if (this.kind != Kind.Number) return byDefault;
    let n: i64 = 0;
    const minus = this.written.startsWith("-");
    for (let i = minus ? 1 : 0; i < this.written.length; i++) {
      const digit = this.written.charCodeAt(i) - 0x30;
      if (digit < 0 || digit > 9 || n > (i64.MAX_VALUE - digit) / 10) return byDefault;
      n = n * 10 + digit;
    }
    return minus ? -n : n;
  }

  // For the parser, which makes them.
  static flagOf(b: bool): Json {
    const v = new Json();
    v.kind = Kind.Flag;
    v.flag_ = b;
    return v;
  }
  static nullValue(): Json {
    const v = new Json();
    v.kind = Kind.Null;
    return v;
  }
  static numberOf(digits: string): Json {
    const v = new Json();
    v.kind = Kind.Number;
    v.written = digits;
    return v;
  }
  static textOf(text: string): Json {
    const v = new Json();
    v.kind = Kind.Text;
    v.written = text;
    return v;
  }
  static listOf(items: Array<Json>): Json {
    const v = new Json();
    v.kind = Kind.List;
    v.items = items;
    return v;
  }
  static tableOf(names: Array<string>, items: Array<Json>): Json {
    const v = new Json();
    v.kind = Kind.Table;
    v.names = names;
    v.items = items;
    return v;
  }
}

class Parser {
  private at: i32 = 0;
  ok: bool = true;

  constructor(private from: string) {}

  atEnd(): bool {
    return this.at >= this.from.length;
  }

  private peek(): i32 {
    return this.atEnd() ? -1 : this.from.charCodeAt(this.at);
  }

  space(): void {
    while (this.peek() == 0x20 || this.peek() == 0x0a || this.peek() == 0x0d || this.peek() == 0x09) this.at++;
  }

  private wrong(): Json {
    this.ok = false;
    return new Json();
  }

  /** Takes a character if it is next. */
  private next(c: i32): bool {
    this.space();
    if (this.peek() != c) return false;
    this.at++;
    return true;
  }

  private word(w: string): bool {
    if (this.from.substr(this.at, w.length) != w) return false;
    this.at += w.length;
    return true;
  }

  value(depth: i32): Json {
    this.space();
    if (depth > DEEPEST) return this.wrong();
    const c = this.peek();
    if (c == 0x22) return Json.textOf(this.text());
    if (c == 0x5b) return this.list(depth);
    if (c == 0x7b) return this.table(depth);
    if (this.word("true")) return Json.flagOf(true);
    if (this.word("false")) return Json.flagOf(false);
    if (this.word("null")) return Json.nullValue();
    const start = this.at;
    while (this.isOfNumber(this.peek())) this.at++;
    return start == this.at ? this.wrong() : Json.numberOf(this.from.substring(start, this.at));
  }

  private isOfNumber(c: i32): bool {
    return (c >= 0x30 && c <= 0x39) || c == 0x2d || c == 0x2b || c == 0x2e || c == 0x65 || c == 0x45;
  }

  private list(depth: i32): Json {
    const items: Array<Json> = [];
    this.next(0x5b);
    if (this.next(0x5d)) return Json.listOf(items);
    do {
      items.push(this.value(depth + 1));
    } while (this.ok && this.next(0x2c));
    return this.ok && this.next(0x5d) ? Json.listOf(items) : this.wrong();
  }

  private table(depth: i32): Json {
    const names: Array<string> = [];
    const items: Array<Json> = [];
    this.next(0x7b);
    if (this.next(0x7d)) return Json.tableOf(names, items);
    do {
      this.space();
      if (this.peek() != 0x22) return this.wrong();
      names.push(this.text());
      if (!this.next(0x3a)) return this.wrong();
      items.push(this.value(depth + 1));
    } while (this.ok && this.next(0x2c));
    return this.ok && this.next(0x7d) ? Json.tableOf(names, items) : this.wrong();
  }

  /** A text in quotes, which come next. */
  private text(): string {
    let s = "";
    let start = ++this.at;
    while (!this.atEnd()) {
      const c = this.peek();
      if (c == 0x22) {
        s += this.from.substring(start, this.at++);
        return s;
      }
      if (c != 0x5c) {
        this.at++;
        continue;
      }
      s += this.from.substring(start, this.at++) + this.escaped();
      start = this.at;
    }
    this.ok = false;
    return s;
  }

  private escaped(): string {
    const c = this.peek();
    this.at++;
    switch (c) {
      case 0x62: return "\b";
      case 0x66: return "\f";
      case 0x6e: return "\n";
      case 0x72: return "\r";
      case 0x74: return "\t";
      case 0x22: case 0x2f: case 0x5c: return String.fromCharCode(c);
      case 0x75: {
        const digits = this.from.substr(this.at, 4);
        const n = parseInt(digits, 16);
        this.at += 4;
        if (digits.length == 4 && !isNaN(n)) return String.fromCharCode(<i32>n);
      }
    }
    this.ok = false;
    return "";
  }
}
