//! Memory that a thread keeps from step to step.

use std::cell::RefCell;

thread_local! {
    /// Memory of earlier steps: new memory would cost a page fault for a thousand keys.
    static MEMORY: RefCell<Vec<Vec<f32>>> = RefCell::default();
}

/// `len` numbers, whatever they are.
pub(super) fn borrow(len: usize) -> Vec<f32> {
    let mut memory = MEMORY.with_borrow_mut(Vec::pop).unwrap_or_default();
    memory.resize(len, 0.0);
    memory
}

/// Keeps memory for the next step.
pub(super) fn give(memory: Vec<f32>) {
    MEMORY.with_borrow_mut(|all| all.push(memory));
}
