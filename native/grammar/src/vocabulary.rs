use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use std::sync::Arc;

use crate::error::Error;

/// Longer tokens are never allowed: the trie has a limit of 1,024, and shorter tokens spell the same text.
const LONGEST_TOKEN: usize = 1000;

/// What one grammar may cost: `initial_lexer_fuel` runs at about 50,000 a millisecond, `step_lexer_fuel` at 14,000 and
/// `step_max_items` at 20,000, so that a mask takes at most some 10 ms however hostile the grammar; a lexer state takes 1 to 2 kB.
fn limits() -> ParserLimits {
    ParserLimits {
        step_lexer_fuel: 100_000,
        max_lexer_states: 20_000,
        max_grammar_size: 200_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// The tokens of a model as bytes, prepared for masks.
pub struct Vocabulary {
    pub(crate) factory: ParserFactory,
    /// Tokens of the model. The id after the last stands for the end of the text, also where a model has no end token.
    pub(crate) tokens: usize,
}

impl Vocabulary {
    /// `bytes` holds what each token stands for, one after the other, `lengths` how many bytes each has: 0 for control tokens, which no
    /// text contains. `end_tokens` end a generation: they are allowed where a text may end.
    pub fn new(bytes: &[u8], lengths: &[u32], end_tokens: &[u32]) -> Result<Self, Error> {
        let total: usize = lengths.iter().map(|len| *len as usize).sum();
        if total != bytes.len() || lengths.is_empty() || lengths.len() >= 1 << 23 {
            return Err(Error(format!(
                "vocabulary: {} tokens of {total} bytes together, {} bytes given",
                lengths.len(),
                bytes.len()
            )));
        }
        let tokens = lengths.len();
        if let Some(bad) = end_tokens.iter().find(|id| **id as usize >= tokens) {
            return Err(Error(format!("vocabulary: end token {bad}, expected less than {tokens}")));
        }
        let mut rest = bytes;
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(tokens + 1);
        for (id, len) in lengths.iter().enumerate() {
            let (word, tail) = rest.split_at(*len as usize);
            rest = tail;
            let usable = word.len() <= LONGEST_TOKEN && !end_tokens.contains(&(id as u32));
            words.push(if usable { word.to_vec() } else { Vec::new() });
        }
        words.push(Vec::new());
        let end = tokens as u32;
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
        let trie = trie.with_eos_tokens(&[&[end], end_tokens].concat());
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let said = |error| Error::said("vocabulary", &error);
        let mut factory =
            ParserFactory::new(&env, InferenceCapabilities::default(), &SlicedBiasComputer::general_slices())
                .map_err(said)?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, tokens })
    }

    /// Words of a mask.
    pub fn mask_words(&self) -> usize {
        self.tokens.div_ceil(32)
    }
}
