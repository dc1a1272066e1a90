//! Patterns of keys.

/// Whether a key matches a pattern: `*` is anything, `?` any byte, `[a-c]` and `[^a]` one of some, and
/// `\` has the next byte be itself. It takes no more steps than their lengths multiplied.
pub fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut p, mut k) = (0, 0);
    let mut star = None; // behind the last one, and how much of the key that has taken
    while k < key.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, k));
            continue;
        }
        if let Some(next) = one(pattern, p, key[k]) {
            p = next;
            k += 1;
            continue;
        }
        match star {
            Some((behind, taken)) => {
                star = Some((behind, taken + 1));
                p = behind;
                k = taken + 1;
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Where the pattern goes on when a byte matches what it has at a place.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then(|| at + 2),
        own => (own == byte).then(|| at + 1),
    }
}

fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += negated as usize;
    let mut found = false;
    loop {
        match pattern.get(at) {
            None => break, // it is not closed: it ends with the pattern, as with Redis
            Some(b']') => {
                at += 1;
                break;
            }
            Some(b'\\') if at + 1 < pattern.len() => {
                found |= pattern[at + 1] == byte;
                at += 2;
            }
            Some(&from) => match pattern.get(at + 1..at + 3) {
                Some(&[b'-', to]) => {
                    found |= (from.min(to)..=from.max(to)).contains(&byte);
                    at += 3;
                }
                _ => {
                    found |= from == byte;
                    at += 1;
                }
            },
        }
    }
    (found != negated).then(|| at)
}
