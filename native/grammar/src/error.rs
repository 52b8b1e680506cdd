/// Why a grammar or a token was refused: one sentence for whoever wrote it.
#[derive(Debug)]
pub struct Error(pub String);

/// Of `oneOf`, what the parser says names a setting that there is not.
const ONE_OF: &str = "oneOf is supported only where its schemas exclude each other, by their types or by a constant property that both \
                      require; use anyOf, or tell them apart by a constant";

/// Longest message passed on.
const MOST: usize = 400;

impl Error {
    /// The first lines of what the parser said, without its internals.
    pub(crate) fn said(what: &str, error: &dyn std::fmt::Display) -> Self {
        let text = error.to_string();
        if text.contains("oneOf constraints are not supported") {
            return Self(format!("{what}: {ONE_OF}"));
        }
        let lines =
            text.lines().map(str::trim).take_while(|line| !line.starts_with('<')).filter(|line| !line.is_empty());
        let mut message = format!("{what}: {}", lines.collect::<Vec<_>>().join("; "));
        if message.len() > MOST {
            message.truncate(message.floor_char_boundary(MOST));
            message.push('…');
        }
        Self(message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
