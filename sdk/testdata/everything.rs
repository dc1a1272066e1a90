// A handler that has something for each function of the crate: what a line says, it does.
use bulkhead::{connect, framing, handler, Code, Conn, Handler};
use std::time::Duration;

#[derive(Default)]
struct Everything {
    config: String,
    waits: Option<Conn>, // for what was dialled last
    relay: bool,
}

#[derive(Default)]
struct State {
    lines: u32,
    upstream: Option<Conn>,
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
        while let Some((line, used)) = framing::line(&bytes[done..], 100)? {
            done += used;
            state.lines += 1;
            let text = String::from_utf8_lossy(line).into_owned();
            let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
            match word {
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

    fn eof(&mut self, c: Conn, state: &mut State) {
        let _ = c.write(format!("over after {}\n", state.lines).as_bytes());
        c.close();
    }

    fn timer(&mut self, c: Conn, _: &mut State, token: i32) {
        let _ = c.write(format!("timer {token}\n").as_bytes());
    }

    fn instance_timer(&mut self, token: i32) {
        bulkhead::log(bulkhead::LOG_INFO, &format!("instance timer {token}"));
    }

    fn closed(&mut self, c: Conn, _: State, reason: Result<(), Code>) {
        if c.dialled() {
            if let Some(client) = self.waits.take() {
                let _ = client.write(format!("upstream: {reason:?}\n").as_bytes());
            }
        }
    }
}

handler!(Everything);
