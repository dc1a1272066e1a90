//! Configurations: JSON that is read.

use crate::{log, Code, LOG_ERROR};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How deep values may stand in each other.
const DEEPEST: usize = 64;

/// A value of JSON, as `[listener.config]` is given to [`Handler::start`](crate::Handler::start):
///
/// ```no_run
/// # use bulkhead::{Code, Json};
/// # fn start(config: &str) -> Result<(), Code> {
/// let config = Json::parse(config)?;
/// config.only(&["greeting", "limits"])?;
/// let greeting = config.text("greeting", "hello")?;
/// let lines = config.table("limits")?.integer("lines", 100, 1..=1000)?;
/// # Ok(())
/// # }
/// ```
///
/// What is there and of another kind than was asked for is [`Code::Invalid`], and a line of the log
/// says which key that is; so `start` refuses it with a `?`.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`, which TOML does not have.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number without a fraction, of 64 bits with its sign.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// A table: its keys, each with its value, in their order.
    Table(Vec<(String, Json)>),
}

static NOTHING: Json = Json::Table(Vec::new());

impl Json {
    /// Reads a text. [`Code::Invalid`]: it is no JSON, or its values stand more than 64 deep in each
    /// other.
    pub fn parse(text: &str) -> Result<Json, Code> {
        let mut p = Parser { text, at: 0 };
        let value = p.value(0).ok_or(Code::Invalid)?;
        p.space();
        if p.at < text.len() {
            return Err(Code::Invalid);
        }
        Ok(value)
    }

    /// The value of a table's key; of several with the same name the last.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Table(entries) => entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A text, or what is the default.
    pub fn text<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str, Code> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::Text(text)) => Ok(text),
            Some(_) => Err(wrong(key, "has to be a text")),
        }
    }

    /// A number without a fraction within a range, or what is the default.
    pub fn integer(&self, key: &str, default: i64, within: core::ops::RangeInclusive<i64>) -> Result<i64, Code> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::Integer(n)) if within.contains(n) => Ok(*n),
            Some(_) => Err(wrong(key, &format!("has to be a number from {} to {}, without a fraction", within.start(), within.end()))),
        }
    }

    /// A number, or what is the default.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, Code> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::Integer(n)) => Ok(*n as f64),
            Some(Json::Number(n)) => Ok(*n),
            Some(_) => Err(wrong(key, "has to be a number")),
        }
    }

    /// `true` or `false`, or what is the default.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, Code> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::Flag(flag)) => Ok(*flag),
            Some(_) => Err(wrong(key, "has to be true or false")),
        }
    }

    /// A list; an empty one where there is none.
    pub fn list(&self, key: &str) -> Result<&[Json], Code> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Json::List(items)) => Ok(items),
            Some(_) => Err(wrong(key, "has to be a list")),
        }
    }

    /// A table; an empty one where there is none.
    pub fn table(&self, key: &str) -> Result<&Json, Code> {
        match self.get(key) {
            None => Ok(&NOTHING),
            Some(table @ Json::Table(_)) => Ok(table),
            Some(_) => Err(wrong(key, "has to be a table")),
        }
    }

    /// The keys of a table, each with its value; of what is no table, none.
    pub fn entries(&self) -> &[(String, Json)] {
        match self {
            Json::Table(entries) => entries,
            _ => &[],
        }
    }

    /// [`Code::Invalid`], with a line of the log, where the table has another key than these: most
    /// often it is misspelt.
    pub fn only(&self, keys: &[&str]) -> Result<(), Code> {
        match self.entries().iter().find(|(name, _)| !keys.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(wrong(name, &format!("is not known; there are: {}", keys.join(", ")))),
        }
    }
}

fn wrong(key: &str, why: &str) -> Code {
    log(LOG_ERROR, &format!("the configuration's {key} {why}"));
    Code::Invalid
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes a character, behind spaces, if it is next.
    fn next(&mut self, c: u8) -> bool {
        self.space();
        let is = self.peek() == Some(c);
        self.at += is as usize;
        is
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.rest().starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEEPEST {
            return None;
        }
        self.space();
        match self.peek()? {
            b'"' => self.string().map(Json::Text),
            b'[' => self.list(depth),
            b'{' => self.table(depth),
            b't' => self.word("true", Json::Flag(true)),
            b'f' => self.word("false", Json::Flag(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Option<Json> {
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_ascii_digit() || "-+.eE".contains(c))).unwrap_or(rest.len());
        let written = &rest[..len];
        // What Rust reads, too, and JSON is without.
        let digits = written.strip_prefix('-').unwrap_or(written);
        let leading = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        if !digits.starts_with(|c: char| c.is_ascii_digit()) || leading || !written.ends_with(|c: char| c.is_ascii_digit()) || written.contains(".e") || written.contains(".E") {
            return None;
        }
        self.at += len;
        match written.parse() {
            Ok(n) => Some(Json::Integer(n)),
            Err(_) => written.parse().ok().map(Json::Number),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        let mut items = Vec::new();
        self.at += 1;
        if self.next(b']') {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.next(b',') {
                return self.next(b']').then(|| Json::List(items));
            }
        }
    }

    fn table(&mut self, depth: usize) -> Option<Json> {
        let mut entries = Vec::new();
        self.at += 1;
        if self.next(b'}') {
            return Some(Json::Table(entries));
        }
        loop {
            self.space();
            if self.peek()? != b'"' {
                return None;
            }
            let key = self.string()?;
            if !self.next(b':') {
                return None;
            }
            entries.push((key, self.value(depth + 1)?));
            if !self.next(b',') {
                return self.next(b'}').then(|| Json::Table(entries));
            }
        }
    }

    /// A text in quotes, of which the first is next.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            text.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Some(text),
                b'\\' => text.push(self.escaped()?),
                _ => return None,
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(match c {
            b'"' | b'\\' | b'/' => c as char,
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                // Two halves of a character above U+FFFF; half a one alone is no text.
                let second = if (0xd800..0xdc00).contains(&first) && self.word("\\u", Json::Null).is_some() { self.unit() } else { None };
                let units = [first, second.unwrap_or(0)];
                let mut chars = char::decode_utf16(units[..1 + second.is_some() as usize].iter().copied());
                chars.next()?.ok()?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn values() {
        for (text, want) in [
            ("null", Json::Null),
            (" true ", Json::Flag(true)),
            ("false", Json::Flag(false)),
            ("0", Json::Integer(0)),
            ("-9223372036854775808", Json::Integer(i64::MIN)),
            ("9223372036854775808", Json::Number(9223372036854775808.0)),
            ("-1.5e3", Json::Number(-1500.0)),
            ("1e2", Json::Number(100.0)),
            (r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#, Json::Text("a\"\\/\x08\x0c\n\r\té😀z".to_string())),
            ("[]", Json::List(vec![])),
            ("[1 , [2]]", Json::List(vec![Json::Integer(1), Json::List(vec![Json::Integer(2)])])),
            (r#"{ "a" : {} , "b":"c"}"#, Json::Table(vec![("a".to_string(), Json::Table(vec![])), ("b".to_string(), Json::Text("c".to_string()))])),
        ] {
            assert_eq!(Json::parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_json() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        for text in [
            "", " ", "nul", "truex", "1 2", "+1", "01", "-", ".5", "1.", "1.e2", "1e", "0x10", "inf", "NaN", "\"", "\"a", "\"\\", "\"\\u12", "\"\\u00g0\"", "\"\\u+123\"",
            "\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\\x41\"", "\"\n\"", "[", "[1", "[1,", "[1,]", "[,1]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{1:1}", "é", "\"\\é",
            "\"\\u00é\"", &deep,
        ] {
            assert_eq!(Json::parse(text), Err(Code::Invalid), "{text}");
        }
    }

    #[test]
    fn keys() {
        let j = Json::parse(r#"{"t":"x","i":3,"n":1.5,"f":true,"l":[1],"o":{"i":4},"i":5}"#).unwrap();
        assert_eq!(j.text("t", "y"), Ok("x"));
        assert_eq!(j.text("none", "y"), Ok("y"));
        assert_eq!(j.integer("i", 0, 0..=9), Ok(5));
        assert_eq!(j.integer("none", 7, 0..=1), Ok(7));
        assert_eq!(j.number("i", 0.0), Ok(5.0));
        assert_eq!(j.number("n", 0.0), Ok(1.5));
        assert_eq!(j.flag("f", false), Ok(true));
        assert_eq!(j.list("l"), Ok(&[Json::Integer(1)][..]));
        assert_eq!(j.list("none"), Ok(&[][..]));
        assert_eq!(j.table("o").and_then(|o| o.integer("i", 0, 0..=9)), Ok(4));
        assert_eq!(j.table("none").and_then(|o| o.integer("i", 6, 0..=9)), Ok(6));
        assert_eq!(j.entries().len(), 7);
        assert!(Json::Null.entries().is_empty() && Json::Null.get("a").is_none());
    }
}
