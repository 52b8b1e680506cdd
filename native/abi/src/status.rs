//! What an export returns: 0, or a code with the number of a message that [`message`] still knows.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Why an export failed, by what the caller can do about it. The numbers are part of the ABI (`ffi/status.ts`).
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An argument is outside what the function accepts: mend the call.
    InvalidArgument = 1,
    /// The handle is unknown or was disposed of: open a new object.
    InvalidHandle = 2,
    /// A file breaks its format: get another file.
    Format = 3,
    /// The operating system refused to read or write: see the message.
    Io = 4,
    /// A defect of the library: the message is the panic's.
    Internal = 5,
}

/// A failed call: a code and a sentence that names the value met and the value expected.
#[derive(Debug)]
pub struct Failure {
    /// What the caller can do about it.
    pub code: Code,
    /// What was attempted, the value met, the value expected.
    pub message: String,
}

impl Failure {
    /// A failure of any kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A bad argument.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }
}

/// Messages of the latest failures. A ring and not a thread-local: `nonblocking` calls run on threads of their own, and
/// their caller asks for the text from another. 64 is far more than the calls in flight at once.
static MESSAGES: Mutex<Ring> = Mutex::new(Ring { next: 0, kept: VecDeque::new() });
const KEPT: usize = 64;
/// Message numbers fill bits 8 to 30 of a status.
const NUMBERS: i32 = 1 << 23;

struct Ring {
    next: i32,
    kept: VecDeque<(i32, String)>,
}

/// Remembers the message and returns the status that names it: the code in the low byte, the message's number above.
pub fn report(failure: Failure) -> i32 {
    let mut ring = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let number = ring.next;
    ring.next = (number + 1) % NUMBERS;
    if ring.kept.len() == KEPT {
        ring.kept.pop_front();
    }
    ring.kept.push_back((number, failure.message));
    failure.code as i32 | number << 8
}

/// The message of `status`; empty when it is a success or 64 failures old.
pub fn message(status: i32) -> String {
    if status <= 0 {
        return String::new();
    }
    let ring = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let found = ring.kept.iter().rev().find(|(number, _)| *number == status >> 8);
    found.map(|(_, text)| text.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_its_code_and_finds_its_own_message() {
        let first = report(Failure::argument("first"));
        let second = report(Failure::new(Code::Io, "second"));
        assert_eq!(first & 0xff, Code::InvalidArgument as i32);
        assert_eq!(second & 0xff, Code::Io as i32);
        assert_eq!(message(first), "first");
        assert_eq!(message(second), "second");
        assert_eq!(message(0), "");
    }
}
