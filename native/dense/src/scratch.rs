//! Memory for what is computed between a call's arguments and its results.

use std::cell::RefCell;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `task` with room for `len` numbers of any value. What a thread once took it keeps: fresh memory would have to be zeroed, page by page, in every
/// call. (sparrow-tiny, 512 rows a step: a fifth of the time.)
pub(crate) fn with_room<T>(len: usize, task: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut room = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    if room.len() < len {
        room.resize(len, 0.0);
    }
    let result = task(&mut room[..len]);
    KEPT.with_borrow_mut(|kept| kept.push(room));
    result
}
