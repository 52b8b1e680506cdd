//! Exports of constrained decoding.

use std::sync::{Mutex, PoisonError};

use sparrow_grammar::{Error, Grammar, Kind, Matcher, State, Vocabulary};

use crate::args;
use crate::panic::guard;
use crate::slab::Slab;
use crate::status::Failure;

static VOCABULARIES: Slab<Vocabulary> = Slab::new("vocabulary");
static GRAMMARS: Slab<Grammar> = Slab::new("grammar");
static MATCHERS: Slab<Mutex<Matcher>> = Slab::new("grammar matcher");

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::argument(error.0)
    }
}

/// Opens a vocabulary: `bytes` are what its tokens stand for, one after the other, `lengths` how many each has (0: a control
/// token), `end_tokens` those that end a generation.
///
/// # Safety
/// The arrays must be readable for their lengths, and `out_handle` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_vocabulary_open(
    bytes: *const u8,
    bytes_len: u32,
    lengths: *const u32,
    lengths_len: u32,
    end_tokens: *const u32,
    end_tokens_len: u32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (bytes, lengths, end_tokens) = unsafe {
            (
                args::input("bytes", bytes, bytes_len as usize)?,
                args::input("lengths", lengths, lengths_len as usize)?,
                args::input("end_tokens", end_tokens, end_tokens_len as usize)?,
            )
        };
        let handle = VOCABULARIES.insert(Vocabulary::new(bytes, lengths, end_tokens)?);
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, handle) }
    })
}

/// Forgets a vocabulary; grammars compiled for it stay.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_vocabulary_dispose(handle: u64) -> i32 {
    guard(|| VOCABULARIES.remove(handle))
}

/// Compiles a grammar for a vocabulary. `kind`: 0 JSON schema, 1 regular expression, 2 Lark grammar.
///
/// # Safety
/// `text` must be readable for `text_len` bytes and `out_handle` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_grammar_compile(
    vocabulary: u64,
    kind: u32,
    text: *const u8,
    text_len: u32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let text = unsafe { args::text("text", text, text_len as usize) }?;
        let kind = *[Kind::JsonSchema, Kind::Regex, Kind::Lark]
            .get(kind as usize)
            .ok_or_else(|| Failure::argument(format!("grammar kind is {kind}, expected 0 to 2")))?;
        let handle = GRAMMARS.insert(VOCABULARIES.get(vocabulary)?.compile(kind, text)?);
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, handle) }
    })
}

/// Forgets a grammar; texts that began stay.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_grammar_dispose(handle: u64) -> i32 {
    guard(|| GRAMMARS.remove(handle))
}

/// Begins a text.
///
/// # Safety
/// `out_handle` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matcher_open(grammar: u64, out_handle: *mut u64) -> i32 {
    guard(|| {
        let handle = MATCHERS.insert(Mutex::new(GRAMMARS.get(grammar)?.start()));
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, handle) }
    })
}

/// Takes the next token of a text; `out_state` gets 0 where more must come, 1 where the text may end, 2 where it has to.
///
/// # Safety
/// `out_state` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matcher_accept(handle: u64, token: u32, out_state: *mut u32) -> i32 {
    guard(|| {
        let matcher = MATCHERS.get(handle)?;
        let state = match matcher.lock().unwrap_or_else(PoisonError::into_inner).accept(&[token])? {
            State::Open => 0,
            State::Whole => 1,
            State::Complete => 2,
        };
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_state", out_state, state) }
    })
}

/// Writes the bitset of tokens that may come next, `mask_len` words for the vocabulary; `out_may_end` gets 1 where the text may end.
///
/// # Safety
/// `mask` must be writable for `mask_len` words and `out_may_end` for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matcher_mask(
    handle: u64,
    mask: *mut u32,
    mask_len: u32,
    out_may_end: *mut u32,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let words = unsafe { args::output("mask", mask, mask_len as usize) }?;
        let matcher = MATCHERS.get(handle)?;
        let may_end = matcher.lock().unwrap_or_else(PoisonError::into_inner).mask(words)?;
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_may_end", out_may_end, u32::from(may_end)) }
    })
}

/// Ends a text.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_matcher_dispose(handle: u64) -> i32 {
    guard(|| MATCHERS.remove(handle))
}
