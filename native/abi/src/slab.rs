//! Objects that the caller knows by number.

use std::sync::{Arc, Mutex, PoisonError};

use crate::status::{Code, Failure};

/// A table of live objects. A handle is `generation << 32 | place`, so that a handle kept past its object's end finds
/// nothing rather than the next tenant of the place. Handle 0 is never given out.
pub struct Slab<T> {
    /// What the objects are, for messages.
    kind: &'static str,
    slots: Mutex<Slots<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<Arc<T>>,
}

impl<T> Slab<T> {
    /// An empty table of `kind`.
    pub const fn new(kind: &'static str) -> Self {
        Self { kind, slots: Mutex::new(Slots { all: Vec::new(), free: Vec::new() }) }
    }

    /// Keeps `value` and returns its handle.
    pub fn insert(&self, value: T) -> u64 {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let place = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot { generation: 0, value: None });
            (slots.all.len() - 1) as u32
        });
        let slot = &mut slots.all[place as usize];
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.value = Some(Arc::new(value));
        u64::from(slot.generation) << 32 | u64::from(place)
    }

    /// The object; it lives on while the returned reference does, whatever is removed meanwhile.
    pub fn get(&self, handle: u64) -> Result<Arc<T>, Failure> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.all.get((handle & 0xffff_ffff) as usize);
        let live = slot.filter(|slot| u64::from(slot.generation) == handle >> 32).and_then(|slot| slot.value.clone());
        live.ok_or_else(|| self.unknown(handle))
    }

    /// Forgets the object; a second removal is an error.
    pub fn remove(&self, handle: u64) -> Result<(), Failure> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (handle & 0xffff_ffff) as u32;
        let slot = slots.all.get_mut(place as usize);
        let value = slot.filter(|slot| u64::from(slot.generation) == handle >> 32).and_then(|slot| slot.value.take());
        let Some(value) = value else { return Err(self.unknown(handle)) };
        slots.free.push(place);
        drop(slots);
        // Dropping a large object takes a while: not under the lock.
        drop(value);
        Ok(())
    }

    fn unknown(&self, handle: u64) -> Failure {
        Failure::new(Code::InvalidHandle, format!("{} {handle:#x} does not exist or was disposed of", self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_finds_its_object_until_removal_and_never_a_later_one() {
        let slab = Slab::new("thing");
        let a = slab.insert("a");
        assert_eq!(*slab.get(a).unwrap(), "a");
        slab.remove(a).unwrap();
        assert!(slab.get(a).is_err());
        assert!(slab.remove(a).is_err());
        let b = slab.insert("b");
        assert_ne!(a, b, "the place is reused, the handle is not");
        assert!(slab.get(a).is_err());
        assert_eq!(*slab.get(b).unwrap(), "b");
        assert!(slab.get(0).is_err());
    }

    #[test]
    fn an_object_in_use_outlives_its_removal() {
        let slab = Slab::new("thing");
        let handle = slab.insert(vec![1, 2, 3]);
        let held = slab.get(handle).unwrap();
        slab.remove(handle).unwrap();
        assert_eq!(*held, [1, 2, 3]);
    }
}
