//! The keys, what they take, and when they go.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::time::Duration;

/// What a key takes besides its own bytes and those of its value: the table, the allocator.
const BESIDES: usize = 96;
/// How many keys go in one event, when their time is over.
const SWEEP: usize = 500;

/// Hashes with a key that nobody outside knows: clients choose the keys.
#[derive(Clone, Copy, Default)]
pub struct Seed(u64, u64);

impl Seed {
    pub fn draw() -> Seed {
        let mut bytes = [0; 16];
        bulkhead::random(&mut bytes);
        let n = u128::from_le_bytes(bytes);
        Seed(n as u64, (n >> 64) as u64)
    }
}

#[allow(deprecated)] // of Rust's hashers the only one with keys of one's own
impl BuildHasher for Seed {
    type Hasher = std::hash::SipHasher;

    fn build_hasher(&self) -> Self::Hasher {
        std::hash::SipHasher::new_with_keys(self.0, self.1)
    }
}

struct Entry {
    value: Vec<u8>,
    /// Milliseconds of the clock that never goes back; 0: it stays.
    until: u64,
}

/// There is no room.
#[derive(Debug, PartialEq)]
pub struct Full;

/// Until when a key stays.
#[derive(Clone, Copy, PartialEq)]
pub enum Until {
    Always,
    AsBefore,
    Ms(u64),
}

#[derive(Default)]
pub struct Store {
    keys: HashMap<Box<[u8]>, Entry, Seed>,
    expiring: BTreeSet<(u64, Box<[u8]>)>,
    /// Bytes that are in use, those of clients' buffers counted, and how many may be.
    pub used: usize,
    pub most: usize,
    /// How many keys have gone since their time was over.
    pub expired: i64,
    now: Option<u64>,
    timer: u64, // when it fires; 0: it is not set
}

impl Store {
    pub fn seed(&mut self, seed: Seed) {
        self.keys = HashMap::with_hasher(seed);
    }

    /// An event begins: time has gone by.
    pub fn begin(&mut self) {
        self.now = None;
    }

    pub fn now(&mut self) -> u64 {
        *self.now.get_or_insert_with(|| bulkhead::monotonic().as_millis() as u64)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.keys().map(|k| &**k)
    }

    /// Whether so many bytes more would be too many.
    pub fn is_full(&self, more: usize) -> bool {
        self.used.saturating_add(more) > self.most
    }

    /// Whether clients' buffers would take too much with so many bytes more. They may when there is no
    /// room for keys, or nobody could make some.
    pub fn is_crowded(&self, more: usize) -> bool {
        self.used.saturating_add(more) > 2 * self.most
    }

    /// Forgets a key whose time is over, though its timer has not fired.
    fn look(&mut self, key: &[u8]) {
        if self.expiring.is_empty() {
            return;
        }
        let until = self.keys.get(key).map_or(0, |e| e.until);
        if until != 0 && until <= self.now() {
            self.remove(key);
            self.expired += 1;
        }
    }

    pub fn get(&mut self, key: &[u8]) -> Option<&[u8]> {
        self.look(key);
        self.keys.get(key).map(|e| &*e.value)
    }

    /// Puts a value there, in place of what was there.
    pub fn set(&mut self, key: &[u8], value: &[u8], until: Until) -> Result<(), Full> {
        self.change(key, value.len(), until, |old| {
            old.clear();
            old.try_reserve_exact(value.len()).map_err(|_| Full)?;
            old.extend_from_slice(value);
            Ok(())
        })
    }

    /// Puts bytes behind the value. How long it is then.
    pub fn append(&mut self, key: &[u8], more: &[u8]) -> Result<usize, Full> {
        let mut len = 0;
        self.change(key, more.len(), Until::AsBefore, |value| {
            value.try_reserve(more.len()).map_err(|_| Full)?;
            value.extend_from_slice(more);
            len = value.len();
            Ok(())
        })?;
        Ok(len)
    }

    /// Changes a value, which is empty where there is none. The change may need so many bytes more;
    /// when it fails the key may be gone.
    fn change(&mut self, key: &[u8], more: usize, until: Until, f: impl FnOnce(&mut Vec<u8>) -> Result<(), Full>) -> Result<(), Full> {
        self.look(key);
        if let Some(entry) = self.keys.get_mut(key) {
            let before = entry.value.capacity();
            if more > before && self.used.saturating_add(more - before) > self.most {
                return Err(Full);
            }
            let result = f(&mut entry.value);
            if entry.value.capacity() > 64 + 4 * entry.value.len() {
                entry.value.shrink_to_fit(); // a small value in place of a large one
            }
            self.used = self.used + entry.value.capacity() - before;
            result?;
        } else {
            if self.is_full(BESIDES + key.len() + more) {
                return Err(Full);
            }
            self.keys.try_reserve(1).map_err(|_| Full)?;
            let mut value = Vec::new();
            f(&mut value)?;
            self.used += BESIDES + key.len() + value.capacity();
            self.keys.insert(key.into(), Entry { value, until: 0 });
        }
        match until {
            Until::AsBefore => {}
            Until::Always => self.expire(key, 0),
            Until::Ms(ms) => self.expire(key, ms),
        }
        Ok(())
    }

    /// Has a key go at a time; 0: never.
    pub fn expire(&mut self, key: &[u8], until: u64) {
        let before = match self.keys.get_mut(key) {
            Some(entry) => std::mem::replace(&mut entry.until, until),
            None => return,
        };
        if before == until {
            return;
        }
        if before != 0 {
            self.expiring.remove(&(before, key.into()));
            self.used -= BESIDES + key.len();
        }
        if until != 0 {
            self.expiring.insert((until, key.into()));
            self.used += BESIDES + key.len();
            if self.timer == 0 || until < self.timer {
                self.set_timer(until);
            }
        }
    }

    /// Until when a key stays: 0 for ever.
    pub fn until(&mut self, key: &[u8]) -> Option<u64> {
        self.look(key);
        self.keys.get(key).map(|e| e.until)
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        match self.keys.remove(key) {
            None => false,
            Some(entry) => {
                self.used -= BESIDES + key.len() + entry.value.capacity();
                if entry.until != 0 {
                    self.expiring.remove(&(entry.until, key.into()));
                    self.used -= BESIDES + key.len();
                }
                true
            }
        }
    }

    pub fn clear(&mut self) {
        let held: usize = self.keys.iter().map(|(k, e)| (BESIDES + k.len()) * (1 + (e.until != 0) as usize) + e.value.capacity()).sum();
        self.used -= held;
        self.expiring.clear();
        let seed = *self.keys.hasher();
        self.keys = HashMap::with_hasher(seed); // with its memory
    }

    fn set_timer(&mut self, until: u64) {
        let now = self.now();
        // A timer that cannot be set costs memory until somebody asks for the key.
        if bulkhead::set_timer(0, Duration::from_millis(until.saturating_sub(now))).is_ok() {
            self.timer = until;
        }
    }

    /// The timer has fired: keys whose time is over go.
    pub fn sweep(&mut self) {
        self.timer = 0;
        let now = self.now();
        for _ in 0..SWEEP {
            let key = match self.expiring.iter().next() {
                Some((until, key)) if *until <= now => key.clone(),
                _ => break,
            };
            self.remove(&key);
            self.expired += 1;
        }
        if let Some(&(until, _)) = self.expiring.iter().next() {
            self.set_timer(until);
        }
    }
}
