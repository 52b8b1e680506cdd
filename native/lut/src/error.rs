//! What the crate refuses.

/// An argument outside what a function accepts: the sentence names the value met and the value expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// `Err` with the sentence unless `condition` holds.
pub fn require(condition: bool, sentence: impl FnOnce() -> String) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error(sentence())) }
}
