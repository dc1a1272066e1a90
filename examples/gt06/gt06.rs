//! The protocol of GT06 and the many trackers that speak as it does: gt06.js, in Rust.
//!
//!   78 78  length (1)  protocol  content  serial (2)  CRC (2)  0d 0a
//!   79 79  length (2)  protocol  content  serial (2)  CRC (2)  0d 0a

use bulkhead::{count, handler, log, Code, Conn, Handler, LOG_ERROR, LOG_INFO, LOG_WARN};
use std::time::Duration;

const LOGIN_WITHIN: Duration = Duration::from_secs(30);
const LOGIN_TIMER: i32 = 1;
const MOST_LONG: usize = 1024; // bytes that a long frame may count
const MOST_BAD: u32 = 10; // frames with a wrong CRC, in one connection

const LOGIN: u8 = 0x01;
const POSITION: u8 = 0x12;
const HEARTBEAT: u8 = 0x13;
const ALARM: u8 = 0x16;
const INFORMATION: u8 = 0x94;

const ALARMS: [&str; 7] = ["none", "SOS", "power cut", "shock", "into the fence", "out of the fence", "too fast"];

/// What a tracker says that closes its connection.
type Wrong = String;

struct Frame<'a> {
    end: usize,
    serial: u16,
    whole: bool, // its CRC is right
    protocol: u8,
    content: &'a [u8],
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// The frame that begins at a place, if it has come whole.
fn frame_at(b: &[u8], at: usize) -> Result<Option<Frame>, Wrong> {
    let rest = &b[at..];
    if rest.len() < 5 {
        return Ok(None);
    }
    let (head, length) = match u16_at(rest, 0) {
        0x7878 => (3, rest[2] as usize),
        0x7979 => (4, u16_at(rest, 2) as usize),
        start => return Err(format!("a frame begins with {start:04x}, and not with 7878 or 7979")),
    };
    if !(5..=MOST_LONG).contains(&length) {
        return Err(format!("a frame says that it has {length} bytes"));
    }
    let end = head + length + 2;
    let frame = match rest.get(..end) {
        Some(frame) => frame,
        None => return Ok(None),
    };
    if !frame.ends_with(b"\r\n") {
        return Err("a frame does not end in 0d 0a".into());
    }
    Ok(Some(Frame {
        end: at + end,
        serial: u16_at(frame, end - 6),
        whole: x25(&frame[2..end - 4]) == u16_at(frame, end - 4),
        protocol: frame[head],
        content: &frame[head + 1..end - 6],
    }))
}

fn x25(b: &[u8]) -> u16 {
    let mut crc = 0xffff;
    for &byte in b {
        crc ^= byte as u16;
        for _ in 0..8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ 0x8408 } else { crc >> 1 };
        }
    }
    !crc
}

fn answer(c: Conn, frame: &Frame) -> Result<(), Wrong> {
    let serial = frame.serial.to_be_bytes();
    let said = [5, frame.protocol, serial[0], serial[1]];
    let sum = x25(&said).to_be_bytes();
    c.write(&[b"\x78\x78", &said[..], &sum, b"\r\n"].concat()).map_err(|e| format!("its answer cannot be sent: {e}"))
}

/// So many bytes of a content, from a place.
fn part(content: &[u8], at: usize, len: usize) -> Result<&[u8], Wrong> {
    content.get(at..at + len).ok_or_else(|| format!("a content of {} bytes is too short", content.len()))
}

/// Time and place, with which positions and alarms begin: 18 bytes.
fn place(content: &[u8]) -> Result<String, Wrong> {
    let p = part(content, 0, 18)?;
    let degrees = |at: usize, negative: bool| {
        let n = u32::from_be_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]]) as f64 / 1_800_000.0;
        if negative {
            -n
        } else {
            n
        }
    };
    let course = u16_at(p, 16);
    Ok(format!(
        "at=20{:02}-{:02}-{:02}T{:02}:{:02}:{:02}Z latitude={:.6} longitude={:.6} speed={} course={} satellites={} fixed={}",
        p[0],
        p[1],
        p[2],
        p[3],
        p[4],
        p[5],
        degrees(7, course & 0x0400 == 0), // south, unless the bit is set
        degrees(11, course & 0x0800 != 0), // west, if it is
        p[15],
        course & 0x03ff,
        p[6] & 15,
        course & 0x1000 != 0
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn tally(name: &str) {
    let _ = count(name, 1); // at worst it is not counted
}

#[derive(Default)]
struct Trackers;

#[derive(Default)]
struct Tracker {
    imei: String, // empty before its login
    bad: u32,
}

impl Tracker {
    fn hear(&mut self, c: Conn, frame: &Frame) -> Result<(), Wrong> {
        if !frame.whole {
            tally("gt06_bad_frames");
            self.bad += 1;
            if self.bad > MOST_BAD {
                return Err(format!("more than {MOST_BAD} frames have a wrong CRC"));
            }
            return Ok(()); // the tracker sends it again
        }
        if self.imei.is_empty() && frame.protocol != LOGIN {
            return Err("a tracker says something before its login".into());
        }
        let content = frame.content;
        match frame.protocol {
            LOGIN => {
                let digits = content.get(..8).ok_or("a login has no IMEI")?;
                let imei = hex(digits)[1..].to_string(); // 15 digits, two a byte
                if !imei.bytes().all(|b| b.is_ascii_digit()) {
                    return Err("the IMEI of a login has other digits than 0 to 9".into());
                }
                self.imei = imei;
                c.clear_timer(LOGIN_TIMER);
                answer(c, frame)?;
                log(LOG_INFO, &format!("login {}", self.imei));
            }
            HEARTBEAT => {
                let p = part(content, 0, 3)?;
                answer(c, frame)?;
                log(LOG_INFO, &format!("heartbeat {} state={:x} voltage={} signal={}", self.imei, p[0], p[1], p[2]));
            }
            POSITION => {
                let place = place(content)?;
                tally("gt06_positions");
                log(LOG_INFO, &format!("position {} {place}", self.imei));
            }
            ALARM => {
                let place = place(content)?;
                let kind = content[content.len() - 2] as usize;
                let name = ALARMS.get(kind).map_or_else(|| kind.to_string(), |name| name.to_string());
                tally("gt06_alarms");
                answer(c, frame)?;
                log(LOG_WARN, &format!("alarm {} kind={name:?} {place}", self.imei));
            }
            INFORMATION => {
                let kind = part(content, 0, 1)?[0];
                log(LOG_INFO, &format!("information {} kind={kind} content={}", self.imei, hex(&content[1..])));
            }
            _ => {} // those that are not known need no answer
        }
        Ok(())
    }
}

impl Handler for Trackers {
    type State = Tracker;

    fn open(&mut self, c: Conn, _: &mut Tracker) -> Result<(), Code> {
        c.set_timer(LOGIN_TIMER, LOGIN_WITHIN)
    }

    /// The beginning of a frame comes again with its end.
    fn data(&mut self, c: Conn, tracker: &mut Tracker, b: &[u8]) -> Result<usize, Code> {
        let mut used = 0;
        loop {
            let heard = match frame_at(b, used) {
                Ok(None) => return Ok(used),
                Ok(Some(frame)) => {
                    used = frame.end;
                    tracker.hear(c, &frame)
                }
                Err(wrong) => Err(wrong),
            };
            if let Err(wrong) = heard {
                log(LOG_ERROR, &format!("data of {}: {wrong}", c.peer()));
                return Err(Code::Invalid);
            }
        }
    }

    fn timer(&mut self, c: Conn, _: &mut Tracker, _: i32) {
        log(LOG_INFO, &format!("no login from {}", c.peer()));
        c.close();
    }
}

handler!(Trackers);
