use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
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

/// Between the tokens of a JSON text: a space, or a new line and its indentation. Unbounded, a model could go on with blanks for ever.
const WHITESPACE: &str = r"\x20|\n\x20{0,16}";

/// A compiled grammar: the state before the first token.
pub struct Grammar {
    start: Parser,
    tokens: usize,
}

/// Stack of the thread that compiles: parsers of nested text recurse, to depths that their own limits bound.
const STACK: usize = 64 << 20;

impl Vocabulary {
    /// Compiles a grammar, on a thread of its own.
    pub fn compile(&self, kind: Kind, text: &str) -> Result<Grammar, Error> {
        let work = || self.compile_here(kind, text);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("grammar".into()).stack_size(STACK).spawn_scoped(scope, work);
            let thread = thread.map_err(|error| Error(format!("compile a grammar: {error}")))?;
            thread.join().unwrap_or_else(|_| Err(Error("compile a grammar: the compiler failed".into())))
        })
    }

    fn compile_here(&self, kind: Kind, text: &str) -> Result<Grammar, Error> {
        let what = match kind {
            Kind::JsonSchema => "JSON schema",
            Kind::Regex => "regular expression",
            Kind::Lark => "grammar",
        };
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
        Ok(Grammar { start, tokens: self.tokens })
    }
}

impl Grammar {
    /// A text that begins.
    pub fn start(&self) -> Matcher {
        Matcher::new(self.start.deep_clone(), self.tokens)
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
