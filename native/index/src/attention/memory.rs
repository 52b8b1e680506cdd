//! Memory that a thread keeps from step to step.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use sparrow_kernels::Picked;

thread_local! {
    /// Memory of earlier steps: new memory would cost a page fault for a thousand keys.
    static MEMORY: RefCell<Vec<Vec<f32>>> = RefCell::default();
    /// What was last picked. One is enough: it is not held while other work might be taken up.
    static PICKED: RefCell<[Picked; 2]> = RefCell::default();
}

/// Borrowed numbers; dropped, their memory is kept for the next who asks on that thread.
pub(super) struct Borrowed {
    /// At least `len` of them: it is never shortened, since what is added to a vector has to be written first.
    memory: Vec<f32>,
    len: usize,
}

/// `len` numbers, whatever they are.
pub(super) fn borrow(len: usize) -> Borrowed {
    let mut memory = MEMORY.with_borrow_mut(Vec::pop).unwrap_or_default();
    if memory.len() < len {
        memory.resize(len, 0.0);
    }
    Borrowed { memory, len }
}

impl Deref for Borrowed {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.len]
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // A thread that ends keeps nothing.
        let _ = MEMORY.try_with(|all| all.borrow_mut().push(memory));
    }
}

/// Two of nothing picked.
pub(super) fn take_picked() -> [Picked; 2] {
    PICKED.take()
}

/// Keeps their memory for the next step.
pub(super) fn give_picked(mut picked: [Picked; 2]) {
    picked.iter_mut().for_each(Picked::clear);
    PICKED.set(picked);
}
