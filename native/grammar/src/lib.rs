//! Constrained decoding: which tokens may come next so that a text stays the beginning of one that a grammar allows.
//!
//! The automaton is `llguidance` (an Earley parser over lexemes matched by derivatives of regular expressions). What is here
//! ties it to a model's vocabulary, bounds what a stranger's grammar may cost, and makes one clear sentence of each refusal.
#![forbid(unsafe_code)]

mod error;
mod grammar;
mod matcher;
mod vocabulary;

pub use error::Error;
pub use grammar::{Grammar, Kind};
pub use matcher::{Matcher, State};
pub use vocabulary::Vocabulary;
