//! The boundary that no panic crosses.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::status::{Code, Failure, report};

/// Runs the body of an export and returns its status: 0, or what [`report`] makes of the failure or panic.
///
/// State behind a handle is either immutable or behind a lock that ignores poisoning and is left whole by construction,
/// so observing it after a panic is sound: that is what `AssertUnwindSafe` claims here.
pub fn guard(body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => report(failure),
        Err(payload) => report(Failure::new(Code::Internal, text(payload.as_ref()))),
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let said = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    format!("internal error in the native library: {}", said.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::message;

    #[test]
    fn a_panic_becomes_a_status_with_its_text() {
        let status = guard(|| panic!("slot {} is torn", 7));
        assert_eq!(status & 0xff, Code::Internal as i32);
        assert!(message(status).ends_with("slot 7 is torn"));
    }

    #[test]
    fn success_is_zero() {
        assert_eq!(guard(|| Ok(())), 0);
    }
}
