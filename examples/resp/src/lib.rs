//! A server of RESP2, the protocol of Redis, with the commands for strings. All its clients share the
//! keys, which are in memory alone.

mod commands;
mod glob;
mod protocol;
mod store;

use bulkhead::{handler, Code, Conn, Handler, Json};
use protocol::{Answers, First, Words};
use store::{Seed, Store};

/// What the library gives at once.
const WINDOW: usize = 64 << 10;
/// How many bytes of answers leave together.
const TOGETHER: usize = 32 << 10;
/// What is worth asking the host to wait for.
const WORTH_WAITING: usize = 512;

/// One client.
#[derive(Default)]
pub struct Client {
    id: i64,
    name: Vec<u8>,
    trusted: bool, // it has given the password, or there is none
    ended: bool,
    /// The beginning of a command that the window has no room for, and how many bytes that has at
    /// least.
    begun: Vec<u8>,
    need: usize,
    wanted: usize,
    held: usize, // of what the store counts
}

#[derive(Default)]
pub struct Server {
    store: Store,
    answers: Answers,
    places: Vec<(usize, usize)>,
    password: Vec<u8>,
    most_value: usize,
    clients: usize,
    accepted: i64,
    commands: i64,
}

/// What becomes of bytes that a client has sent.
enum Step {
    /// So many are done with.
    Used(usize),
    /// So many are, and more have to come.
    Wait(usize),
    /// The client is not heard any more.
    End,
}

impl Server {
    /// Does the first command, if it is all there.
    fn step(&mut self, client: &mut Client, bytes: &[u8]) -> Step {
        if !client.begun.is_empty() {
            return self.go_on(client, bytes);
        }
        let mut places = std::mem::take(&mut self.places);
        let step = match protocol::first(bytes, self.most_value, &mut places) {
            Ok(First::Half(need)) if need > WINDOW => self.keep(client, bytes, need),
            Ok(First::Half(need)) => {
                client.need = need;
                Step::Wait(0)
            }
            first => self.perform(client, bytes, first, &places),
        };
        self.places = places;
        step
    }

    /// Does what stands first.
    fn perform(&mut self, client: &mut Client, bytes: &[u8], first: Result<First, String>, places: &[(usize, usize)]) -> Step {
        let used = match first {
            Ok(First::Command(used)) => {
                self.run(client, &Words::new(bytes, places));
                used
            }
            Ok(First::Line(used, text)) => {
                self.run(client, &Words::new(&text, places));
                used
            }
            Ok(First::Nothing(used)) => used,
            Ok(First::Half(_)) => 0,
            Err(why) => {
                self.answers.error(&format!("ERR Protocol error: {why}"));
                return Step::End;
            }
        };
        if client.ended {
            Step::End
        } else {
            Step::Used(used)
        }
    }

    /// Takes the beginning of a command out of the window.
    fn keep(&mut self, client: &mut Client, bytes: &[u8], need: usize) -> Step {
        if self.store.is_crowded(bytes.len()) || client.begun.try_reserve(bytes.len()).is_err() {
            self.answers.error(commands::OUT_OF_MEMORY);
            return Step::End;
        }
        client.begun.extend_from_slice(bytes);
        client.need = need;
        Step::Wait(bytes.len())
    }

    /// Goes on with a command whose beginning was taken out of the window.
    fn go_on(&mut self, client: &mut Client, bytes: &[u8]) -> Step {
        let more = bytes.len().min(client.need - client.begun.len());
        let need = client.need;
        if let Step::End = self.keep(client, &bytes[..more], need) {
            return Step::End;
        }
        if client.begun.len() < need {
            return Step::Wait(more);
        }
        let begun = std::mem::take(&mut client.begun);
        let mut places = std::mem::take(&mut self.places);
        let step = match protocol::first(&begun, self.most_value, &mut places) {
            Ok(First::Half(need)) => {
                client.begun = begun;
                client.need = need;
                Step::Used(more)
            }
            // Never more than it needs was put there, so that is all of it.
            first => match self.perform(client, &begun, first, &places) {
                Step::Used(_) => Step::Used(more),
                other => other,
            },
        };
        self.places = places;
        step
    }

    /// Sends the answers that there are. The memory of many that wait is the store's, too.
    fn send(&mut self, c: Conn) -> Result<(), Code> {
        if self.answers.bytes.is_empty() {
            return Ok(());
        }
        let sent = c.write(&self.answers.bytes);
        if self.answers.bytes.capacity() > 2 * TOGETHER {
            self.answers.bytes = Vec::with_capacity(TOGETHER);
        }
        self.answers.bytes.clear();
        sent
    }

    /// Counts what waits for a client, and what of it is half a command.
    fn hold(&mut self, c: Conn, client: &mut Client) -> Result<(), Code> {
        let held = client.begun.capacity() + c.queued();
        self.store.used = self.store.used - client.held + held;
        client.held = held;
        // Clients who do not read their answers could fill memory, by few bytes of their own.
        if c.queued() > 0 && self.store.is_crowded(0) {
            return Err(Code::Quota);
        }
        Ok(())
    }

    /// Counts what there was since the last time.
    fn count(&mut self) {
        for (name, n) in [("resp_errors", &mut self.answers.errors), ("resp_expired", &mut self.store.expired)] {
            if *n > 0 {
                let _ = bulkhead::count(name, *n); // at worst it is not counted
                *n = 0;
            }
        }
    }
}

impl Handler for Server {
    type State = Client;

    fn start(&mut self, config: &str) -> Result<(), Code> {
        let config = Json::parse(config)?;
        config.only(&["max_memory", "max_value", "password"])?;
        self.store.most = config.integer("max_memory", 16 << 20, 1 << 20..=1 << 30)? as usize;
        self.most_value = config.integer("max_value", 1 << 20, 1 << 10..=64 << 20)? as usize;
        self.password = config.text("password", "")?.as_bytes().to_vec();
        self.reseed();
        Ok(())
    }

    fn reseed(&mut self) {
        self.store.seed(Seed::draw());
    }

    fn open(&mut self, c: Conn, client: &mut Client) -> Result<(), Code> {
        self.clients += 1;
        self.accepted += 1;
        client.id = self.accepted;
        client.trusted = self.password.is_empty();
        client.wanted = 1;
        c.set_write_limit(2 * self.most_value + 2 * TOGETHER);
        Ok(())
    }

    fn data(&mut self, c: Conn, client: &mut Client, bytes: &[u8]) -> Result<usize, Code> {
        self.store.begin();
        let mut done = 0;
        let mut need = 0; // of a command that has begun in the window
        let ended = loop {
            match self.step(client, &bytes[done..]) {
                Step::Used(n) => done += n,
                Step::Wait(n) => {
                    done += n;
                    if client.begun.is_empty() {
                        need = client.need;
                    }
                    break false;
                }
                Step::End => break true,
            }
            if self.answers.bytes.len() >= TOGETHER {
                self.send(c)?;
                if c.queued() > 0 {
                    break false; // a client that does not read is not served further
                }
            }
        };
        self.send(c)?;
        self.count();
        if ended {
            c.close();
            return Ok(bytes.len());
        }
        self.hold(c, client)?;
        // Of a long value the host need not tell each part.
        let want = if need > bytes.len() - done + WORTH_WAITING { need } else { 1 };
        if want != client.wanted {
            c.want(want)?;
            client.wanted = want;
        }
        Ok(done)
    }

    fn writable(&mut self, c: Conn, client: &mut Client) {
        if self.hold(c, client).is_err() {
            c.abort();
        }
    }

    fn instance_timer(&mut self, _: i32) {
        self.store.begin();
        self.store.sweep();
        self.count();
    }

    fn closed(&mut self, _: Conn, client: Client, _: Result<(), Code>) {
        self.clients -= 1;
        self.store.used -= client.held;
    }
}

handler!(Server);
