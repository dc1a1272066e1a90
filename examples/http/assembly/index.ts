// HTTP/1.1 for a few pages, which the configuration has.
import { Code, config, Conn, count, encode, Handler, Instance, log, LOG_ERROR, serve, Writer } from "../bulkhead";
export * from "../bulkhead/exports";
import { date } from "./date";
import { exactly, LONGEST_HEAD, Request } from "./request";

class Page {
  constructor(
    public path: Uint8Array,
    public head: Uint8Array,
    public body: Uint8Array,
  ) {}
}

const pages: Page[] = [];
const answer = new Writer(4096);

function reasonOf(status: i32): string {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 505: return "HTTP Version Not Supported";
  }
  return "";
}

/** What comes first in an answer. */
function head(status: i32, type: string, length: i32): string {
  return `HTTP/1.1 ${status} ${reasonOf(status)}\r\nServer: bulkhead\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n`;
}

/** One client. */
class Client extends Handler {
  private skip: i32 = 0; // bytes of a body, which nobody reads

  data(c: Conn, bytes: Uint8Array): i32 {
    let done = 0;
    while (!c.stops && done < bytes.length) {
      if (this.skip > 0) {
        const n = min(this.skip, bytes.length - done);
        this.skip -= n;
        done += n;
        continue;
      }
      // Clients may send a line ending behind a body.
      if (bytes[done] == 0x0d || bytes[done] == 0x0a) {
        done++;
        continue;
      }
      const end = headEnd(bytes, done);
      if (end < 0) {
        if (bytes.length - done < LONGEST_HEAD) break;
        this.respond(c, 431, null, false, false);
        return bytes.length;
      }
      if (end - done > LONGEST_HEAD) {
        this.respond(c, 431, null, false, false);
        return bytes.length;
      }
      const r = new Request(bytes.subarray(done, end - 2));
      done = end;
      this.serve(c, r);
    }
    return done;
  }

  private serve(c: Conn, r: Request): void {
    if (r.wrong != 0) return this.respond(c, r.wrong, null, false, false);
    const isHead = exactly(r.method, "HEAD");
    // A client that waits to be told to send a body is told at once that nobody wants it.
    const goesOn = r.keepAlive && !(r.waits && r.body > 0);
    this.skip = r.body;
    if (!isHead && !exactly(r.method, "GET")) return this.respond(c, 405, null, goesOn, false);
    for (let i = 0; i < pages.length; i++) {
      const page = unchecked(pages[i]);
      if (page.path.length == r.path.length && memory.compare(page.path.dataStart, r.path.dataStart, page.path.length) == 0) {
        return this.respond(c, 200, page, goesOn, isHead);
      }
    }
    this.respond(c, 404, null, goesOn, isHead);
  }

  private respond(c: Conn, status: i32, page: Page | null, goesOn: bool, headAlone: bool): void {
    const w = answer.clear();
    let text = "";
    if (page) {
      w.bytes(page.head);
    } else {
      text = `${status} ${reasonOf(status)}\n`;
      w.text(head(status, "text/plain", text.length));
      if (status == 405) w.text("Allow: GET, HEAD\r\n");
      count("http_refused");
    }
    w.text("Date: ").text(date()).text(goesOn ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n");
    if (!headAlone) {
      if (page) w.bytes(page.body);
      else w.text(text);
    }
    c.write(w.written);
    if (!goesOn) c.close();
  }
}

/** Where the empty line behind a head ends; below 0 while it is not there. */
function headEnd(b: Uint8Array, from: i32): i32 {
  const p = b.dataStart;
  for (let i = from + 3; i < b.length; i++) {
    if (load<u8>(p + i) == 0x0a && load<u32>(p + i - 3) == 0x0a0d0a0d) return i + 1;
  }
  return -1;
}

class Site extends Instance {
  start(): i32 {
    const c = config().get("pages");
    const paths = c.exists ? c.keys : ["/"];
    for (let i = 0; i < paths.length; i++) {
      const path = paths[i];
      if (!path.startsWith("/")) {
        log(LOG_ERROR, `pages: "${path}" does not begin with /`);
        return Code.INVALID;
      }
      const body = encode(c.get(path).text("hello\n"));
      const type = path.endsWith(".txt") || !c.exists ? "text/plain; charset=utf-8" : "text/html; charset=utf-8";
      pages.push(new Page(encode(path), encode(head(200, type, body.length)), body));
    }
    return Code.OK;
  }
}

serve((): Handler => new Client(), new Site());
