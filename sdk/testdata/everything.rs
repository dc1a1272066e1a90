// A handler that has something for each function of the crate: what a line says, it does.
use bulkhead::framing::{self, Length};
use bulkhead::{connect, handler, Code, Conn, Handler, Json};
use std::time::Duration;

#[derive(Default)]
struct Everything {
    config: String,
    settings: String,
    waits: Option<Conn>, // for what was dialled last
    relay: bool,
}

#[derive(Default)]
struct State {
    frames: String, // what messages are cut by; lines if it is empty
    lines: u32,
    rest: bool, // whether to say what is left at the end
    upstream: Option<Conn>,
}

/// The first message of the kind that frames names.
fn message<'a>(frames: &str, bytes: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, Code> {
    match frames {
        "u8" => framing::prefixed(bytes, Length::U8, 100),
        "u16be" => framing::prefixed(bytes, Length::U16Be, 100),
        "u16le" => framing::prefixed(bytes, Length::U16Le, 100),
        "u32be" => framing::prefixed(bytes, Length::U32Be, 100),
        "u32le" => framing::prefixed(bytes, Length::U32Le, 100),
        "fixed5" => Ok(bytes.get(..5).map(|m| (m, 5))),
        "until--" => framing::until(bytes, b"--", 100),
        _ => framing::line(bytes, 100),
    }
}

/// What a table of settings says.
fn settings(table: &Json) -> Result<String, Code> {
    table.only(&["text", "integer", "number", "flag", "list", "table"])?;
    Ok(format!(
        "{} {} {} {} {} {}",
        table.text("text", "none")?,
        table.integer("integer", 7, 1..=10)?,
        table.number("number", 0.5)?,
        table.flag("flag", false)?,
        table.list("list")?.len(),
        table.table("table")?.entries().len(),
    ))
}

impl Everything {
    /// Relays, as soon as what was written to the client is sent.
    fn join(&mut self, upstream: Conn, client: Conn) -> Result<(), Code> {
        match upstream.splice(client) {
            Err(Code::Again) => Ok(()), // writable is called
            joined => joined,
        }
    }
}

impl Handler for Everything {
    type State = State;

    fn start(&mut self, config: &str) -> Result<(), Code> {
        self.config = config.to_string();
        self.settings = settings(Json::parse(config)?.table("settings")?)?;
        bulkhead::set_timer(7, Duration::from_secs(60))
    }

    fn open(&mut self, c: Conn, _: &mut State) -> Result<(), Code> {
        if !c.dialled() {
            return c.write(b"hello\n");
        }
        let client = self.waits.ok_or(Code::Invalid)?;
        client.write(format!("up, from {}\n", c.local().is_empty()).as_bytes())?;
        if self.relay {
            self.join(c, client)?;
        }
        Ok(())
    }

    fn writable(&mut self, c: Conn, state: &mut State) {
        if let (true, Some(upstream)) = (self.relay, state.upstream) {
            if self.join(upstream, c).is_err() {
                c.abort();
            }
        }
    }

    fn data(&mut self, c: Conn, state: &mut State, bytes: &[u8]) -> Result<usize, Code> {
        if c.dialled() {
            if let Some(client) = self.waits {
                client.write(bytes)?;
            }
            return Ok(bytes.len());
        }
        let mut done = 0;
        while let Some((line, used)) = message(&state.frames, &bytes[done..])? {
            done += used;
            let text = String::from_utf8_lossy(line).into_owned();
            if !state.frames.is_empty() {
                if text == "lines" {
                    state.frames.clear();
                    c.write(b"lines\n")?;
                } else {
                    c.write(format!("[{text}]\n").as_bytes())?;
                }
                continue;
            }
            state.lines += 1;
            let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
            match word {
                "settings" => c.write(format!("{}\n", self.settings).as_bytes())?,
                "rest" => state.rest = true,
                "config" => c.write(format!("{}\n", self.config).as_bytes())?,
                "peer" => c.write(format!("{} {} {}\n", c.peer(), c.transport(), c.certificate()).as_bytes())?,
                "lines" => c.write(format!("{}\n", state.lines).as_bytes())?,
                "timer" => c.set_timer(1, Duration::from_millis(rest.parse().map_err(|_| Code::Invalid)?))?,
                "clear" => c.clear_timer(1),
                "log" => bulkhead::log(bulkhead::LOG_WARN, rest),
                "count" => bulkhead::count(rest, 2)?,
                "clock" => c.write(format!("{}\n", bulkhead::now() > bulkhead::monotonic()).as_bytes())?,
                "random" => {
                    let mut a = [0; 32];
                    bulkhead::random(&mut a);
                    c.write(format!("{}\n", a != [0; 32]).as_bytes())?;
                }
                "many" => {
                    let n = rest.parse().map_err(|_| Code::Invalid)?;
                    match c.write(&vec![b'x'; n]) {
                        Ok(()) => c.write(b"\n")?,
                        Err(e) => c.write(format!("{e}\n").as_bytes())?,
                    }
                }
                "frames" => state.frames = rest.to_string(),
                "want" => c.want(rest.parse().map_err(|_| Code::Invalid)?)?,
                "pause" => {
                    c.set_timer(2, Duration::from_millis(rest.parse().map_err(|_| Code::Invalid)?))?;
                    c.pause();
                }
                "tls" => {
                    c.make_tls_server()?;
                    return Ok(done);
                }
                "limit" => c.set_write_limit(rest.parse().map_err(|_| Code::Invalid)?),
                "dial" | "relay" => {
                    self.relay = word == "relay";
                    self.waits = Some(c);
                    state.upstream = Some(connect(rest)?);
                }
                "up" => {
                    let upstream = state.upstream.ok_or(Code::NotFound)?;
                    upstream.write(format!("{rest}\n").as_bytes())?;
                }
                "upgrade" => state.upstream.ok_or(Code::NotFound)?.make_tls_client(rest)?,
                "half" => c.finish_sending(),
                "abort" => c.abort(),
                "refuse" => return Err(Code::Refused),
                "panic" => panic!("it was told to: {rest}"),
                "quit" => {
                    c.close();
                    return Ok(bytes.len());
                }
                _ => c.write(b"?\n")?,
            }
            if word == "relay" {
                return Ok(done); // what comes next is the upstream's
            }
        }
        Ok(done)
    }

    fn rest(&mut self, c: Conn, state: &mut State, bytes: &[u8]) {
        if state.rest {
            let _ = c.write(format!("left: {}\n", String::from_utf8_lossy(bytes)).as_bytes());
        }
    }

    fn eof(&mut self, c: Conn, state: &mut State) {
        let _ = c.write(format!("over after {}\n", state.lines).as_bytes());
        c.close();
    }

    fn secured(&mut self, c: Conn, _: &mut State, result: Result<(), Code>) {
        let c = if c.dialled() { self.waits.unwrap_or(c) } else { c };
        bulkhead::log(bulkhead::LOG_INFO, &format!("secured {}", name(result)));
        let _ = c.write(format!("secured {}\n", name(result)).as_bytes());
    }

    fn timer(&mut self, c: Conn, _: &mut State, token: i32) {
        if token == 2 {
            c.resume();
            let _ = c.write(b"resumed\n");
            return;
        }
        let _ = c.write(format!("timer {token}\n").as_bytes());
    }

    fn instance_timer(&mut self, token: i32) {
        bulkhead::log(bulkhead::LOG_INFO, &format!("instance timer {token}"));
    }

    fn closed(&mut self, c: Conn, _: State, reason: Result<(), Code>) {
        if c.dialled() {
            if let Some(client) = self.waits.take() {
                let _ = client.write(format!("upstream {}\n", name(reason)).as_bytes());
            }
        }
    }
}

fn name(result: Result<(), Code>) -> &'static str {
    result.map_or_else(|e| e.name(), |()| "OK")
}

handler!(Everything);
bulkhead::one_connection!();
