//! Memory that a thread keeps from step to step.

use std::cell::RefCell;

use sparrow_kernels::Picked;

thread_local! {
    /// Memory of earlier steps: new memory would cost a page fault for a thousand keys.
    static MEMORY: RefCell<Vec<Vec<f32>>> = RefCell::default();
    /// What was last picked. One is enough: it is not held while other work might be taken up.
    static PICKED: RefCell<[Picked; 2]> = RefCell::default();
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

/// Two of nothing picked.
pub(super) fn take_picked() -> [Picked; 2] {
    PICKED.take()
}

/// Keeps their memory for the next step.
pub(super) fn give_picked(mut picked: [Picked; 2]) {
    picked.iter_mut().for_each(Picked::clear);
    PICKED.set(picked);
}
