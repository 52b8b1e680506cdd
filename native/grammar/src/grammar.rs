use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::panic_utils::catch_unwind;
use llguidance::{Matcher as Parser, regex_to_lark};
use serde_json::{Value, json};

use crate::error::Error;
use crate::matcher::Matcher;
use crate::vocabulary::Vocabulary;

/// How the text of a grammar is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON schema.
    JsonSchema,
    /// A regular expression that the whole text matches; `\d` and `\w` are ASCII, as in JavaScript.
    Regex,
    /// A grammar in Lark's notation, as llguidance reads it.
    Lark,
}

impl Kind {
    fn what(self) -> &'static str {
        match self {
            Kind::JsonSchema => "JSON schema",
            Kind::Regex => "regular expression",
            Kind::Lark => "grammar",
        }
    }
}

/// Between the tokens of a JSON text: a space, or a new line and its indentation. Unbounded, a model could go on with blanks for ever.
const WHITESPACE: &str = r"\x20|\n\x20{0,16}";

/// A compiled grammar: the state before the first token.
pub struct Grammar {
    start: Parser,
    tokens: usize,
}

/// Stack of the thread that compiles: parsers of nested text recurse, to depths that their own limits bound.
const STACK: usize = 64 << 20;

/// Longest that anyone waits for a grammar. Ordinary schemas take milliseconds, one of 2,000 properties half a second; but a
/// conjunction of regular expressions can take exponential time, and nothing can stop a thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// Threads that go on after nobody waits for them, at most: no grammar is compiled before one of them ends.
const MOST_LATE: usize = 2;
static LATE: AtomicUsize = AtomicUsize::new(0);

/// Tokens of the text that is tried: where a grammar is too large for the parser shows after its first tokens.
const TRIED: usize = 4;

impl Vocabulary {
    /// Compiles a grammar, on a thread of its own.
    pub fn compile(self: &Arc<Self>, kind: Kind, text: &str) -> Result<Grammar, Error> {
        if LATE.load(Ordering::SeqCst) >= MOST_LATE {
            return Err(Error("compile a grammar: earlier ones take for ever; try again later".into()));
        }
        let (send, receive) = sync_channel(1);
        let ended = Arc::new(AtomicBool::new(false));
        let work = {
            let (vocabulary, text, ended) = (Arc::clone(self), text.to_owned(), Arc::clone(&ended));
            move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| Ok(vocabulary.compile_here(kind, &text))))
                    .unwrap_or_else(|error| Err(Error::said(kind.what(), &error)));
                // Fails only where nobody waits any longer.
                let _ = send.send(outcome);
                if ended.swap(true, Ordering::SeqCst) {
                    LATE.fetch_sub(1, Ordering::SeqCst);
                }
            }
        };
        std::thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|error| Error(format!("compile a grammar: {error}")))?;
        if let Ok(outcome) = receive.recv_timeout(PATIENCE) {
            return outcome;
        }
        // From here on the thread counts itself out when it ends, unless it has ended just now.
        LATE.fetch_add(1, Ordering::SeqCst);
        if ended.swap(true, Ordering::SeqCst) {
            LATE.fetch_sub(1, Ordering::SeqCst);
        }
        Err(Error(format!("{}: not compiled within {} s; make it simpler", kind.what(), PATIENCE.as_secs())))
    }

    fn compile_here(&self, kind: Kind, text: &str) -> Result<Grammar, Error> {
        let what = kind.what();
        let grammar = match kind {
            Kind::JsonSchema => {
                let schema = serde_json::from_str(text).map_err(|error| Error::said(what, &error))?;
                GrammarWithLexer::from_json_schema(with_whitespace(schema)?)
            }
            Kind::Regex => GrammarWithLexer::from_lark(format!("start: /{}/", regex_to_lark(text, "dw"))),
            Kind::Lark => GrammarWithLexer::from_lark(text.into()),
        };
        let parser = self.factory.create_parser(TopLevelGrammar::from_grammar(grammar));
        let mut start = Parser::new(parser);
        // The first mask is where much of a lexer is built, and where a grammar that allows nothing shows.
        let first = start.compute_mask().map_err(|error| Error::said(what, &error))?;
        if first.is_zero() {
            return Err(Error::nothing(what));
        }
        let mut tried = start.deep_clone();
        for _ in 0..TRIED {
            if tried.is_stopped() {
                break;
            }
            let allowed = tried.compute_mask().map_err(|error| Error::said(what, &error))?;
            let Some(id) = allowed.first_bit_set().filter(|id| *id < self.tokens) else { break };
            tried.consume_token(id as u32).map_err(|error| Error::said(what, &error))?;
        }
        Ok(Grammar { start, tokens: self.tokens })
    }
}

impl Grammar {
    /// A text that begins. The states that its lexer finds are there for the texts that begin later: masks of a schema that was in use take a
    /// third of the time (99th percentile at 8K tokens: 0.025 ms, 0.08 alone). Where they become too many, all texts of the grammar fail.
    pub fn start(&self) -> Matcher {
        Matcher::new(self.start.clone(), self.tokens)
    }
}

fn with_whitespace(schema: Value) -> Result<Value, Error> {
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        Value::Object(map) => Value::Object(map),
        other => return Err(Error(format!("JSON schema: {other} allows nothing or is no schema, expected an object"))),
    };
    schema["x-guidance"] = json!({ "whitespace_pattern": WHITESPACE });
    Ok(schema)
}
