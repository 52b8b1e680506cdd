use llguidance::api::StopReason;

/// Why a grammar or a token was refused: one sentence for whoever wrote it.
#[derive(Debug)]
pub struct Error(pub String);

/// Of `oneOf`, what the parser says names a setting that there is not.
const ONE_OF: &str = "oneOf is supported only where its schemas exclude each other, by their types or by a constant property that both \
                      require; use anyOf, or tell them apart by a constant";

/// Longest message passed on.
const MOST: usize = 400;

impl Error {
    /// A grammar that allows no text.
    pub(crate) fn nothing(what: &str) -> Self {
        Self(format!("{what}: no text of this model's tokens matches it"))
    }

    /// What the parser said, in one line and without its internals.
    pub(crate) fn said(what: &str, error: &dyn std::fmt::Display) -> Self {
        let text = error.to_string();
        if text.starts_with(&StopReason::NoExtensionBias.to_string()) {
            return Self::nothing(what);
        }
        if text.contains("oneOf constraints are not supported") {
            return Self(format!("{what}: {ONE_OF}"));
        }
        // The parser of regular expressions draws its text, a caret under the fault, and says it after "error:".
        let text = text.rsplit_once("\nerror: ").map_or(text.as_str(), |(_, fault)| fault);
        let lines =
            text.lines().map(str::trim).take_while(|line| !line.starts_with('<')).filter(|line| !is_drawing(line));
        let mut message = format!("{what}: {}", lines.collect::<Vec<_>>().join("; "));
        if message.len() > MOST {
            message.truncate(message.floor_char_boundary(MOST));
            message.push('…');
        }
        Self(message)
    }
}

/// Whether a line shows the source, or points at it.
fn is_drawing(line: &str) -> bool {
    let number = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
    line.trim_matches(['^', ' ']).is_empty() || number.len() < line.len() && number.starts_with(" |")
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
