//! RESP2 as bytes: commands that clients send, and answers.

/// How many words a command may have.
const MOST_WORDS: i64 = 1024;
/// How long a command on one line may be, and the longest number in front of words and bytes.
const LONGEST_LINE: usize = 60 << 10;
const LONGEST_NUMBER: usize = 32;

/// The words of a command, the first of which is its name. There is one at least.
pub struct Words<'a> {
    bytes: &'a [u8],
    places: &'a [(usize, usize)],
}

impl<'a> Words<'a> {
    pub fn new(bytes: &'a [u8], places: &'a [(usize, usize)]) -> Self {
        Words { bytes, places }
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The word at a place; an empty one where there is none.
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.places.get(i).map_or(&[], |&(from, to)| &self.bytes[from..to])
    }

    /// Whether the word at a place is this one, which is in capitals.
    pub fn is(&self, i: usize, word: &str) -> bool {
        self.at(i).eq_ignore_ascii_case(word.as_bytes())
    }
}

/// What stands first in what a client has sent.
#[derive(Debug, PartialEq)]
pub enum First {
    /// A command that takes up so many bytes, with the places of its words among them.
    Command(usize),
    /// A command on one line, whose words are apart, since quotes can change them.
    Line(usize, Vec<u8>),
    /// So many bytes that say nothing.
    Nothing(usize),
    /// A command that is not all there. It has this many bytes at least.
    Half(usize),
}

/// Reads the first command, of whose words none may be longer than `most`. What is no command is an
/// error, in Redis' words.
pub fn first(bytes: &[u8], most: usize, places: &mut Vec<(usize, usize)>) -> Result<First, String> {
    places.clear();
    match bytes.first() {
        None => return Ok(First::Half(1)),
        Some(b'*') => {}
        Some(_) => return line(bytes, places),
    }
    let (count, mut at) = match number(bytes, 1, "invalid multibulk length")? {
        Some(n) => n,
        None => return Ok(First::Half(bytes.len() + 1)),
    };
    if count > MOST_WORDS {
        return Err("invalid multibulk length".into());
    }
    if count <= 0 {
        return Ok(First::Nothing(at));
    }
    for _ in 0..count {
        match bytes.get(at) {
            None => return Ok(First::Half(at + 1)),
            Some(b'$') => {}
            Some(&b) => return Err(format!("expected '$', got '{}'", b as char)),
        }
        let (len, from) = match number(bytes, at + 1, "invalid bulk length")? {
            Some(n) => n,
            None => return Ok(First::Half(bytes.len() + 1)),
        };
        if len < 0 || len as u64 > most as u64 {
            return Err("invalid bulk length".into());
        }
        let to = from + len as usize;
        if to > most + LONGEST_LINE {
            return Err("too big command".into());
        }
        match bytes.get(to..to + 2) {
            None => return Ok(First::Half(to + 2)),
            Some(b"\r\n") => {}
            Some(_) => return Err("invalid bulk length".into()),
        }
        places.push((from, to));
        at = to + 2;
    }
    Ok(First::Command(at))
}

/// The number that begins at a place and ends with its line, and where the next line begins.
fn number(bytes: &[u8], at: usize, wrong: &'static str) -> Result<Option<(i64, usize)>, &'static str> {
    let mut n: i64 = 0;
    let negative = bytes.get(at) == Some(&b'-');
    let from = at + negative as usize;
    for i in from..from + LONGEST_NUMBER {
        match bytes.get(i) {
            None => return Ok(None),
            Some(&digit @ b'0'..=b'9') => {
                n = n.checked_mul(10).and_then(|n| n.checked_add((digit - b'0') as i64)).ok_or(wrong)?;
            }
            Some(b'\r') if i > from => {
                return match bytes.get(i + 1) {
                    None => Ok(None),
                    Some(b'\n') => Ok(Some((if negative { -n } else { n }, i + 2))),
                    Some(_) => Err(wrong),
                }
            }
            Some(_) => return Err(wrong),
        }
    }
    Err(wrong)
}

/// A command on one line, as people type it: words with spaces between them, some in quotes.
fn line(bytes: &[u8], places: &mut Vec<(usize, usize)>) -> Result<First, String> {
    let end = match bytes.iter().position(|&b| b == b'\n') {
        Some(end) if end <= LONGEST_LINE => end,
        None if bytes.len() <= LONGEST_LINE => return Ok(First::Half(bytes.len() + 1)),
        _ => return Err("too big inline request".into()),
    };
    let said = &bytes[..end];
    let mut words = Vec::with_capacity(end);
    let mut at = 0;
    loop {
        at += said[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        if at == said.len() {
            break;
        }
        if places.len() as i64 == MOST_WORDS {
            return Err("too many words in one line".into());
        }
        let from = words.len();
        while let Some(&b) = said.get(at).filter(|b| !b.is_ascii_whitespace()) {
            at += 1;
            match b {
                b'"' | b'\'' => at = quoted(said, at, b, &mut words).ok_or("unbalanced quotes in request")?,
                _ => words.push(b),
            }
        }
        places.push((from, words.len()));
    }
    Ok(if places.is_empty() { First::Nothing(end + 1) } else { First::Line(end + 1, words) })
}

/// Takes what stands from a place to a quote, which a space has to follow, and answers where that is.
fn quoted(said: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        let b = *said.get(at)?;
        at += 1;
        if b == quote {
            return said.get(at).map_or(true, u8::is_ascii_whitespace).then(|| at);
        }
        let after = match b {
            b'\\' => said.get(at).copied(),
            _ => None,
        };
        let (byte, more) = match (quote, after) {
            (_, None) => (b, 0),
            (b'\'', Some(b'\'')) => (b'\'', 1),
            (b'\'', _) => (b, 0),
            (_, Some(b'n')) => (b'\n', 1),
            (_, Some(b'r')) => (b'\r', 1),
            (_, Some(b't')) => (b'\t', 1),
            (_, Some(b'b')) => (8, 1),
            (_, Some(b'a')) => (7, 1),
            (_, Some(after)) => match said.get(at..at + 3) {
                Some(&[b'x', high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
                    (digit(high) << 4 | digit(low), 3)
                }
                _ => (after, 1),
            },
        };
        word.push(byte);
        at += more;
    }
}

/// A number of 64 bits, as Redis writes it: without a plus, spaces or zeros in front.
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] => return (text.len() == 1).then(|| 0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut n: i64 = 0;
    for &b in digits {
        if !b.is_ascii_digit() {
            return None;
        }
        // Below zero there is one number more.
        n = n.checked_mul(10)?.checked_sub((b - b'0') as i64)?;
    }
    if text.len() > digits.len() {
        Some(n)
    } else {
        n.checked_neg()
    }
}

/// Answers, one behind the other.
#[derive(Default)]
pub struct Answers {
    pub bytes: Vec<u8>,
    /// How many of them were errors.
    pub errors: i64,
}

impl Answers {
    pub fn simple(&mut self, text: &str) {
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// An error, which begins with its kind in capitals. What ends a line becomes a space.
    pub fn error(&mut self, text: &str) {
        self.errors += 1;
        self.bytes.push(b'-');
        self.bytes.extend(text.bytes().map(|b| if b < b' ' { b' ' } else { b }));
        self.end();
    }

    pub fn integer(&mut self, n: i64) {
        self.head(b':', n);
    }

    pub fn bulk(&mut self, value: &[u8]) {
        self.head(b'$', value.len() as i64);
        self.bytes.extend_from_slice(value);
        self.end();
    }

    pub fn nil(&mut self) {
        self.bytes.extend_from_slice(b"$-1\r\n");
    }

    /// So many answers, which follow, are one.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len as i64);
    }

    fn head(&mut self, kind: u8, n: i64) {
        self.bytes.push(kind);
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = n.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if n < 0 {
            self.bytes.push(b'-');
        }
        self.bytes.extend_from_slice(&digits[at..]);
        self.end();
    }

    fn end(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
    }
}
