//! What is wrong with an argument.

use std::fmt;

/// A size that does not fit, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenseError(pub(crate) String);

impl fmt::Display for DenseError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for DenseError {}
