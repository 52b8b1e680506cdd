use llguidance::Matcher as Parser;

use crate::error::Error;

/// What may come after the tokens so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// More must come.
    Open,
    /// The text may end here, or go on.
    Whole,
    /// The text is whole, and nothing may be added.
    Complete,
}

/// A text on its way through a grammar.
pub struct Matcher {
    parser: Parser,
    tokens: usize,
}

impl Matcher {
    pub(crate) fn new(parser: Parser, tokens: usize) -> Self {
        Self { parser, tokens }
    }

    /// Takes the next tokens of the text. An error leaves the matcher unusable.
    pub fn accept(&mut self, tokens: &[u32]) -> Result<State, Error> {
        if let Some(bad) = tokens.iter().find(|id| **id as usize >= self.tokens) {
            return Err(Error(format!("constrained text: token {bad}, expected less than {}", self.tokens)));
        }
        self.parser.consume_tokens(tokens).map_err(|error| Error::said("constrained text", &error))?;
        if self.parser.is_stopped() {
            return Ok(State::Complete);
        }
        let whole = self.parser.is_accepting().map_err(|error| Error::said("constrained text", &error))?;
        Ok(if whole { State::Whole } else { State::Open })
    }

    /// Writes the set of tokens that may come next: bit `id % 32` of word `id / 32`. Returns whether the text may end here.
    pub fn mask(&mut self, words: &mut [u32]) -> Result<bool, Error> {
        if words.len() != self.tokens.div_ceil(32) {
            return Err(Error(format!(
                "mask: {} words for {} tokens, expected {}",
                words.len(),
                self.tokens,
                self.tokens.div_ceil(32)
            )));
        }
        let mask = self.parser.compute_mask_or_eos().map_err(|error| Error::said("constrained text", &error))?;
        words.copy_from_slice(&mask.as_slice()[..words.len()]);
        let may_end = mask.is_allowed(self.tokens as u32);
        if !self.tokens.is_multiple_of(32) {
            words[self.tokens / 32] &= (1 << (self.tokens % 32)) - 1;
        }
        Ok(may_end)
    }
}
