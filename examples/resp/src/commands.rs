//! The commands, which are Redis' own, and what they answer.

use crate::glob;
use crate::protocol::{integer, Words};
use crate::store::{Full, Until};
use crate::{Client, Server, TOGETHER};

pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const SYNTAX: &str = "ERR syntax error";
const NO_INTEGER: &str = "ERR value is not an integer or out of range";
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
const NO_AUTH: &str = "NOAUTH Authentication required.";
const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
/// The version of Redis whose answers these are.
const VERSION: &str = "7.0.15";
/// How much of a command an error repeats.
const REPEATED: usize = 128;

/// An error, as the client is told.
type Outcome = Result<(), String>;

struct Command {
    name: &'static str,
    /// How many words it has; below 0: that many at least.
    arity: i64,
    /// Which of its words are keys: the first and the last, by steps. 0: none are; below 0: from the
    /// end.
    keys: (i64, i64, i64),
    run: fn(&mut Server, &mut Client, &Words) -> Outcome,
}

macro_rules! command {
    ($name:literal, $arity:expr, $keys:expr, $run:expr) => {
        Command { name: $name, arity: $arity, keys: $keys, run: $run }
    };
}

const NONE: (i64, i64, i64) = (0, 0, 0);
const ONE: (i64, i64, i64) = (1, 1, 1);
const ALL: (i64, i64, i64) = (1, -1, 1);

/// In the order of their names, by which they are found.
static COMMANDS: &[Command] = &[
    command!("append", 3, ONE, append),
    command!("auth", -2, NONE, auth),
    command!("client", -2, NONE, client),
    command!("command", -1, NONE, commands),
    command!("config", -2, NONE, config),
    command!("dbsize", 1, NONE, |s, _, _| done(s.answers.integer(s.store.len() as i64))),
    command!("decr", 2, ONE, |s, _, w| add(s, w, Some(-1))),
    command!("decrby", 3, ONE, |s, _, w| add(s, w, number(w, 2)?.checked_neg())),
    command!("del", -2, ALL, del),
    command!("echo", 2, NONE, |s, _, w| done(s.answers.bulk(w.at(1)))),
    command!("exists", -2, ALL, exists),
    command!("expire", 3, ONE, |s, _, w| expire(s, w, 1000)),
    command!("flushall", -1, NONE, flush),
    command!("flushdb", -1, NONE, flush),
    command!("get", 2, ONE, get),
    command!("getdel", 2, ONE, getdel),
    command!("getset", 3, ONE, getset),
    command!("hello", -1, NONE, hello),
    command!("incr", 2, ONE, |s, _, w| add(s, w, Some(1))),
    command!("incrby", 3, ONE, |s, _, w| add(s, w, Some(number(w, 2)?))),
    command!("info", -1, NONE, info),
    command!("keys", 2, NONE, keys),
    command!("mget", -2, ALL, mget),
    command!("mset", -3, (1, -1, 2), mset),
    command!("persist", 2, ONE, persist),
    command!("pexpire", 3, ONE, |s, _, w| expire(s, w, 1)),
    command!("ping", -1, NONE, ping),
    command!("psetex", 4, ONE, |s, _, w| setex(s, w, 1)),
    command!("pttl", 2, ONE, |s, _, w| ttl(s, w, 1)),
    command!("quit", -1, NONE, quit),
    command!("select", 2, NONE, select),
    command!("set", -3, ONE, set),
    command!("setex", 4, ONE, |s, _, w| setex(s, w, 1000)),
    command!("setnx", 3, ONE, setnx),
    command!("strlen", 2, ONE, strlen),
    command!("ttl", 2, ONE, |s, _, w| ttl(s, w, 1000)),
    command!("type", 2, ONE, kind),
    command!("unlink", -2, ALL, del),
];

/// What a client that has not given the password may say.
static BEFORE_AUTH: &[&str] = &["auth", "hello", "quit"];

impl Command {
    /// The command that a client names.
    fn named(name: &[u8]) -> Option<&'static Command> {
        let mut small = [0; 16];
        let small = small.get_mut(..name.len())?;
        small.copy_from_slice(name);
        small.make_ascii_lowercase();
        COMMANDS.binary_search_by(|c| c.name.as_bytes().cmp(small)).ok().map(|i| &COMMANDS[i])
    }

    fn takes(&self, words: usize) -> bool {
        let words = words as i64;
        if self.arity < 0 {
            words >= -self.arity
        } else {
            words == self.arity
        }
    }
}

impl Server {
    /// Does a command, and answers it.
    pub fn run(&mut self, client: &mut Client, words: &Words) {
        self.commands += 1;
        let outcome = match Command::named(words.at(0)) {
            None => unknown(client, words),
            Some(c) if !c.takes(words.len()) => Err(format!("ERR wrong number of arguments for '{}' command", c.name)),
            Some(c) if !client.trusted && !BEFORE_AUTH.contains(&c.name) => Err(NO_AUTH.into()),
            Some(c) => (c.run)(self, client, words),
        };
        if let Err(text) = outcome {
            self.answers.error(&text);
        }
    }

    /// Checks the length of a value that is to be kept.
    fn fits(&self, len: usize) -> Outcome {
        if len > self.most_value {
            return Err(TOO_LONG.into());
        }
        Ok(())
    }

    /// Refuses an answer that has become too long to be sent: it began at a place, and is taken back.
    fn answered(&mut self, from: usize) -> Outcome {
        let most = 2 * self.most_value + TOGETHER;
        if self.answers.bytes.len() - from <= most {
            return Ok(());
        }
        self.answers.bytes.truncate(from);
        Err(format!("ERR the answer is longer than {most} bytes"))
    }
}

impl From<Full> for String {
    fn from(_: Full) -> String {
        OUT_OF_MEMORY.into()
    }
}

fn done(_: ()) -> Outcome {
    Ok(())
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(REPEATED)]).into_owned()
}

fn number(words: &Words, i: usize) -> Result<i64, String> {
    integer(words.at(i)).ok_or_else(|| NO_INTEGER.into())
}

fn unknown(client: &mut Client, words: &Words) -> Outcome {
    // A page that a browser has open could have it send commands in a request's body.
    if words.is(0, "POST") || words.is(0, "Host:") {
        client.ended = true;
        return Err("ERR this is not HTTP".into());
    }
    let mut said = format!("ERR unknown command '{}', with args beginning with: ", text(words.at(0)));
    for i in 1..words.len() {
        if said.len() > 2 * REPEATED {
            break;
        }
        said += &format!("'{}' ", text(words.at(i)));
    }
    Err(said)
}

/// What is wrong with a command whose second word is one of these, or none of them.
fn unknown_part(words: &Words, parts: &[&str]) -> Outcome {
    if let Some(part) = parts.iter().find(|part| words.is(1, part)) {
        let name = text(words.at(0)).to_lowercase();
        return Err(format!("ERR wrong number of arguments for '{name}|{}' command", part.to_lowercase()));
    }
    let name = text(words.at(0)).to_uppercase();
    Err(format!("ERR unknown subcommand '{}'. Try {name} HELP.", text(words.at(1))))
}

// Of the connection.

fn ping(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    match words.len() {
        1 => s.answers.simple("PONG"),
        2 => s.answers.bulk(words.at(1)),
        _ => return Err("ERR wrong number of arguments for 'ping' command".into()),
    }
    Ok(())
}

fn quit(s: &mut Server, client: &mut Client, _: &Words) -> Outcome {
    client.ended = true;
    done(s.answers.simple("OK"))
}

/// Compares without telling by time how much of the password is right.
fn checks(s: &Server, client: &mut Client, user: &[u8], password: &[u8]) -> Outcome {
    let differ = password.iter().zip(&s.password).fold(password.len() != s.password.len(), |d, (a, b)| d | (a != b));
    if differ || user != b"default" {
        return Err(WRONG_PASS.into());
    }
    client.trusted = true;
    Ok(())
}

fn auth(s: &mut Server, client: &mut Client, words: &Words) -> Outcome {
    if s.password.is_empty() && words.len() == 2 {
        return Err("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?".into());
    }
    match words.len() {
        2 => checks(s, client, b"default", words.at(1))?,
        3 if s.password.is_empty() => {} // anyone passes
        3 => checks(s, client, words.at(1), words.at(2))?,
        _ => return Err(SYNTAX.into()),
    }
    done(s.answers.simple("OK"))
}

fn hello(s: &mut Server, client: &mut Client, words: &Words) -> Outcome {
    let mut name = None;
    if words.len() > 1 {
        match integer(words.at(1)) {
            None => return Err("ERR Protocol version is not an integer or out of range".into()),
            Some(2) => {}
            Some(_) => return Err("NOPROTO unsupported protocol version".into()),
        }
        let mut i = 2;
        while i < words.len() {
            if words.is(i, "AUTH") && i + 2 < words.len() {
                checks(s, client, words.at(i + 1), words.at(i + 2))?;
                i += 3;
            } else if words.is(i, "SETNAME") && i + 1 < words.len() {
                name = Some(words.at(i + 1));
                i += 2;
            } else {
                return Err(format!("ERR Syntax error in HELLO option '{}'", text(words.at(i))));
            }
        }
    }
    if !client.trusted {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time".into());
    }
    if let Some(name) = name {
        named(client, name)?;
    }
    let a = &mut s.answers;
    a.array(14);
    for (key, value) in [("server", "redis"), ("version", VERSION)] {
        a.bulk(key.as_bytes());
        a.bulk(value.as_bytes());
    }
    a.bulk(b"proto");
    a.integer(2);
    a.bulk(b"id");
    a.integer(client.id);
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        a.bulk(key.as_bytes());
        a.bulk(value.as_bytes());
    }
    a.bulk(b"modules");
    done(a.array(0))
}

fn named(client: &mut Client, name: &[u8]) -> Outcome {
    if name.iter().any(|b| !(b'!'..=b'~').contains(b)) {
        return Err("ERR Client names cannot contain spaces, newlines or special characters.".into());
    }
    if name.len() > REPEATED {
        return Err(TOO_LONG.into());
    }
    client.name = name.to_vec();
    Ok(())
}

fn client(s: &mut Server, client: &mut Client, words: &Words) -> Outcome {
    match words.len() {
        2 if words.is(1, "ID") => s.answers.integer(client.id),
        2 if words.is(1, "GETNAME") && client.name.is_empty() => s.answers.nil(),
        2 if words.is(1, "GETNAME") => s.answers.bulk(&client.name),
        3 if words.is(1, "SETNAME") => {
            named(client, words.at(2))?;
            s.answers.simple("OK");
        }
        4 if words.is(1, "SETINFO") => s.answers.simple("OK"), // nobody looks at it
        _ => return unknown_part(words, &["ID", "GETNAME", "SETNAME", "SETINFO"]),
    }
    Ok(())
}

fn select(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    if number(words, 1)? != 0 {
        return Err("ERR DB index is out of range".into());
    }
    done(s.answers.simple("OK"))
}

// Of the server.

fn commands(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    if words.len() == 2 && words.is(1, "COUNT") {
        return done(s.answers.integer(COMMANDS.len() as i64));
    }
    if words.is(1, "DOCS") {
        return done(s.answers.array(0)); // no client needs them
    }
    if words.len() > 1 {
        return unknown_part(words, &["COUNT"]);
    }
    let a = &mut s.answers;
    a.array(COMMANDS.len());
    for c in COMMANDS {
        a.array(6);
        a.bulk(c.name.as_bytes());
        a.integer(c.arity);
        a.array(0); // flags
        for n in [c.keys.0, c.keys.1, c.keys.2] {
            a.integer(n);
        }
    }
    Ok(())
}

fn config(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    if !words.is(1, "GET") || words.len() < 3 {
        return unknown_part(words, &["GET"]);
    }
    let (memory, value) = (s.store.most.to_string(), s.most_value.to_string());
    let all = [("appendonly", "no"), ("databases", "1"), ("maxmemory", &*memory), ("maxmemory-policy", "noeviction"), ("proto-max-bulk-len", &*value), ("save", "")];
    let patterns: Vec<_> = (2..words.len()).map(|i| words.at(i).to_ascii_lowercase()).collect();
    let wanted: Vec<_> = all.iter().filter(|(key, _)| patterns.iter().any(|p| glob::matches(p, key.as_bytes()))).collect();
    s.answers.array(2 * wanted.len());
    for (key, value) in wanted {
        s.answers.bulk(key.as_bytes());
        s.answers.bulk(value.as_bytes());
    }
    Ok(())
}

fn info(s: &mut Server, _: &mut Client, _: &Words) -> Outcome {
    let said = format!(
        "# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\n# Clients\r\nconnected_clients:{}\r\n# Memory\r\nused_memory:{}\r\nmaxmemory:{}\r\n# Persistence\r\nloading:0\r\n# Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\n# Replication\r\nrole:master\r\n# Keyspace\r\ndb0:keys={}\r\n",
        s.clients,
        s.store.used,
        s.store.most,
        s.accepted,
        s.commands,
        s.store.len(),
    );
    done(s.answers.bulk(said.as_bytes()))
}

fn flush(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    if words.len() > 2 || words.len() == 2 && !words.is(1, "SYNC") && !words.is(1, "ASYNC") {
        return Err(SYNTAX.into());
    }
    s.store.clear();
    done(s.answers.simple("OK"))
}

fn keys(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let found: Vec<&[u8]> = s.store.names().filter(|key| glob::matches(words.at(1), key)).collect();
    let from = s.answers.bytes.len();
    s.answers.array(found.len());
    for key in found {
        s.answers.bulk(key);
        if s.answers.bytes.len() - from > 2 * s.most_value + TOGETHER {
            break;
        }
    }
    s.answered(from)
}

// Of keys.

fn tally(s: &mut Server, words: &Words, f: impl Fn(&mut Server, &[u8]) -> bool) -> Outcome {
    let n = (1..words.len()).filter(|&i| f(s, words.at(i))).count();
    done(s.answers.integer(n as i64))
}

fn del(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    tally(s, words, |s, key| s.store.get(key).is_some() && s.store.remove(key))
}

fn exists(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    tally(s, words, |s, key| s.store.get(key).is_some())
}

fn kind(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let kind = s.store.get(words.at(1)).map_or("none", |_| "string");
    done(s.answers.simple(kind))
}

/// When a time that a client has said is over. Redis takes no more milliseconds than 63 bits hold.
fn later(s: &mut Server, n: i64, unit: i64) -> Option<u64> {
    n.checked_mul(unit)?.checked_add(s.store.now() as i64).map(|ms| ms.max(1) as u64)
}

fn expire(s: &mut Server, words: &Words, unit: i64) -> Outcome {
    let n = number(words, 2)?;
    let at = later(s, n, unit).ok_or_else(|| format!("ERR invalid expire time in '{}' command", text(words.at(0)).to_lowercase()))?;
    let key = words.at(1);
    let found = s.store.get(key).is_some();
    if n <= 0 {
        s.store.remove(key);
    } else {
        s.store.expire(key, at);
    }
    done(s.answers.integer(found as i64))
}

fn ttl(s: &mut Server, words: &Words, unit: u64) -> Outcome {
    let left = match s.store.until(words.at(1)) {
        None => -2,
        Some(0) => -1,
        Some(until) => ((until - s.store.now() + unit / 2) / unit) as i64,
    };
    done(s.answers.integer(left))
}

fn persist(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let stays = s.store.until(words.at(1)).unwrap_or(0) == 0;
    s.store.expire(words.at(1), 0);
    done(s.answers.integer(!stays as i64))
}

// Of values.

fn get(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    match s.store.get(words.at(1)) {
        Some(value) => s.answers.bulk(value),
        None => s.answers.nil(),
    }
    Ok(())
}

fn getdel(s: &mut Server, client: &mut Client, words: &Words) -> Outcome {
    get(s, client, words)?;
    s.store.remove(words.at(1));
    Ok(())
}

fn getset(s: &mut Server, client: &mut Client, words: &Words) -> Outcome {
    s.fits(words.at(2).len())?;
    let from = s.answers.bytes.len();
    get(s, client, words)?;
    let kept = s.store.set(words.at(1), words.at(2), Until::Always);
    if kept.is_err() {
        s.answers.bytes.truncate(from);
    }
    Ok(kept?)
}

fn mget(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let from = s.answers.bytes.len();
    s.answers.array(words.len() - 1);
    for i in 1..words.len() {
        match s.store.get(words.at(i)) {
            Some(value) => s.answers.bulk(value),
            None => s.answers.nil(),
        }
        s.answered(from)?;
    }
    Ok(())
}

fn mset(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    if words.len() % 2 == 0 {
        return Err("ERR wrong number of arguments for 'mset' command".into());
    }
    for i in (1..words.len()).step_by(2) {
        s.fits(words.at(i + 1).len())?;
        s.store.set(words.at(i), words.at(i + 1), Until::Always)?;
    }
    done(s.answers.simple("OK"))
}

fn set(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let (key, value) = (words.at(1), words.at(2));
    let (mut absent, mut present, mut old) = (false, false, false);
    let mut until = Until::Always;
    let mut i = 3;
    while i < words.len() {
        let unit = if words.is(i, "EX") { 1000 } else { 1 };
        if words.is(i, "NX") && !present {
            absent = true;
        } else if words.is(i, "XX") && !absent {
            present = true;
        } else if words.is(i, "GET") {
            old = true;
        } else if words.is(i, "KEEPTTL") && until == Until::Always {
            until = Until::AsBefore;
        } else if (words.is(i, "EX") || words.is(i, "PX")) && until == Until::Always && i + 1 < words.len() {
            i += 1;
            until = stays(s, number(words, i)?, unit, "set")?;
        } else {
            return Err(SYNTAX.into());
        }
        i += 1;
    }
    s.fits(value.len())?;
    let from = s.answers.bytes.len();
    let before = s.store.get(key);
    let is = before.is_some();
    if old {
        match before {
            Some(value) => s.answers.bulk(value),
            None => s.answers.nil(),
        }
    }
    let goes = !(absent && is || present && !is);
    if goes {
        if let Err(full) = s.store.set(key, value, until) {
            s.answers.bytes.truncate(from);
            return Err(full.into());
        }
    }
    match (old, goes) {
        (true, _) => {}
        (false, true) => s.answers.simple("OK"),
        (false, false) => s.answers.nil(),
    }
    Ok(())
}

fn stays(s: &mut Server, n: i64, unit: i64, name: &str) -> Result<Until, String> {
    match later(s, n, unit) {
        Some(at) if n > 0 => Ok(Until::Ms(at)),
        _ => Err(format!("ERR invalid expire time in '{name}' command")),
    }
}

fn setex(s: &mut Server, words: &Words, unit: i64) -> Outcome {
    let name = if unit == 1 { "psetex" } else { "setex" };
    let until = stays(s, number(words, 2)?, unit, name)?;
    s.fits(words.at(3).len())?;
    s.store.set(words.at(1), words.at(3), until)?;
    done(s.answers.simple("OK"))
}

fn setnx(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let absent = s.store.get(words.at(1)).is_none();
    if absent {
        s.fits(words.at(2).len())?;
        s.store.set(words.at(1), words.at(2), Until::Always)?;
    }
    done(s.answers.integer(absent as i64))
}

fn strlen(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let len = s.store.get(words.at(1)).map_or(0, <[u8]>::len);
    done(s.answers.integer(len as i64))
}

fn append(s: &mut Server, _: &mut Client, words: &Words) -> Outcome {
    let (key, more) = (words.at(1), words.at(2));
    let len = s.store.get(key).map_or(0, <[u8]>::len);
    s.fits(len + more.len())?;
    let len = s.store.append(key, more)?;
    done(s.answers.integer(len as i64))
}

/// Adds to the number that a key has, which is 0 where there is no key. None is a number that there is
/// none of.
fn add(s: &mut Server, words: &Words, n: Option<i64>) -> Outcome {
    let key = words.at(1);
    let n = n.ok_or("ERR decrement would overflow")?;
    let before = match s.store.get(key) {
        Some(value) => integer(value).ok_or(NO_INTEGER)?,
        None => 0,
    };
    let sum = before.checked_add(n).ok_or("ERR increment or decrement would overflow")?;
    s.store.set(key, sum.to_string().as_bytes(), Until::AsBefore)?;
    done(s.answers.integer(sum))
}
