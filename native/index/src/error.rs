use std::fmt;

/// Why an index could not be built, opened or searched.
#[derive(Debug)]
pub enum IndexError {
    /// A shape or an option is outside what the function accepts.
    Argument(String),
    /// A file breaks the index format.
    Format(String),
    /// The operating system refused to read or write.
    Io(String),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(text) | Self::Format(text) | Self::Io(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for IndexError {}

/// Result of an index operation.
pub type Result<T> = std::result::Result<T, IndexError>;
