//! Messages in a stream of bytes. Each function is given what [`Handler::data`](crate::Handler::data)
//! was, and answers the first message and how many bytes it takes up; `None` while it is not all
//! there. A message that is longer than `most` is [`Code::Invalid`]: the peer would fill memory.

use crate::Code;

/// A line, without the line feed that ends it, nor a carriage return before that.
pub fn line(bytes: &[u8], most: usize) -> Result<Option<(&[u8], usize)>, Code> {
    let end = match bytes.iter().position(|&b| b == b'\n') {
        Some(end) => end,
        None if bytes.len() > most + 1 => return Err(Code::Invalid),
        None => return Ok(None),
    };
    let text = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    if text.len() > most {
        return Err(Code::Invalid);
    }
    Ok(Some((text, end + 1)))
}

/// What stands before a delimiter.
pub fn until<'a>(bytes: &'a [u8], delimiter: &[u8], most: usize) -> Result<Option<(&'a [u8], usize)>, Code> {
    match bytes.windows(delimiter.len().max(1)).position(|w| w == delimiter) {
        Some(end) if end <= most => Ok(Some((&bytes[..end], end + delimiter.len()))),
        None if bytes.len() < most + delimiter.len() => Ok(None),
        _ => Err(Code::Invalid),
    }
}

/// How a length is written in front of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// One byte.
    U8,
    /// Two bytes, the greater one first.
    U16Be,
    /// Two bytes, the smaller one first.
    U16Le,
    /// Four bytes, the greatest one first.
    U32Be,
    /// Four bytes, the smallest one first.
    U32Le,
}

/// A message with its length in front, which does not count itself.
pub fn prefixed(bytes: &[u8], length: Length, most: usize) -> Result<Option<(&[u8], usize)>, Code> {
    let (size, big) = match length {
        Length::U8 => (1, true),
        Length::U16Be => (2, true),
        Length::U16Le => (2, false),
        Length::U32Be => (4, true),
        Length::U32Le => (4, false),
    };
    if bytes.len() < size {
        return Ok(None);
    }
    let place = |i: usize| if big { size - 1 - i } else { i };
    let len = (0..size).fold(0usize, |n, i| n | (bytes[i] as usize) << (8 * place(i)));
    if len > most {
        return Err(Code::Invalid);
    }
    match bytes[size..].get(..len) {
        Some(message) => Ok(Some((message, size + len))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(line(b"ab\r\ncd", 10), Ok(Some((&b"ab"[..], 4))));
        assert_eq!(line(b"ab\ncd", 2), Ok(Some((&b"ab"[..], 3))));
        assert_eq!(line(b"ab\r\n", 2), Ok(Some((&b"ab"[..], 4))));
        assert_eq!(line(b"\n", 0), Ok(Some((&b""[..], 1))));
        assert_eq!(line(b"ab", 2), Ok(None));
        assert_eq!(line(b"ab\r", 2), Ok(None));
        assert_eq!(line(b"abcd", 2), Err(Code::Invalid));
        assert_eq!(line(b"abc\n", 2), Err(Code::Invalid));
    }

    #[test]
    fn delimiters() {
        assert_eq!(until(b"ab--cd", b"--", 5), Ok(Some((&b"ab"[..], 4))));
        assert_eq!(until(b"ab-", b"--", 2), Ok(None));
        assert_eq!(until(b"ab--", b"--", 2), Ok(Some((&b"ab"[..], 4))));
        assert_eq!(until(b"abc-", b"--", 2), Err(Code::Invalid));
        assert_eq!(until(b"abc--", b"--", 2), Err(Code::Invalid));
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefixed(b"\x02abc", Length::U8, 9), Ok(Some((&b"ab"[..], 3))));
        assert_eq!(prefixed(b"\x00\x01a", Length::U16Be, 9), Ok(Some((&b"a"[..], 3))));
        assert_eq!(prefixed(b"\x01\x00a", Length::U16Le, 9), Ok(Some((&b"a"[..], 3))));
        assert_eq!(prefixed(b"\x00\x00\x00\x01a", Length::U32Be, 9), Ok(Some((&b"a"[..], 5))));
        assert_eq!(prefixed(b"\x01\x00\x00\x00a", Length::U32Le, 9), Ok(Some((&b"a"[..], 5))));
        assert_eq!(prefixed(b"\x00\x00\x00\x02a", Length::U32Be, 9), Ok(None));
        assert_eq!(prefixed(b"\x00\x00", Length::U32Be, 9), Ok(None));
        assert_eq!(prefixed(b"\xff\xff\xff\xff", Length::U32Be, 9), Err(Code::Invalid));
    }
}
