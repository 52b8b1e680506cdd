//! Masks against their definition: a token is allowed exactly where its bytes, one by one, are; on small vocabularies whose tokens cut
//! characters and escapes in two.

use std::sync::Arc;

use sparrow_grammar::{Grammar, Kind, Matcher, State, Vocabulary};

/// All bytes, then tokens of several, then two control tokens of which the first ends a text.
fn words() -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    for text in [
        "{\"", "\":", "true", "ru", "\\", "\\u00", "u0", "[[", "]]", ", ", "a\",\"", "é", "aé", "12", "-1.", "e+",
        "ab", "abab",
    ] {
        words.push(text.as_bytes().to_vec());
    }
    // The second half of one character with what follows, and a first half after text.
    words.push(vec![0xa9, b'a']);
    words.push(vec![b'a', 0xc3]);
    words.push(vec![0x9f, 0x98]);
    words.push(vec![]);
    words.push(vec![]);
    words
}

fn vocabulary(words: &[Vec<u8>]) -> Arc<Vocabulary> {
    let lengths: Vec<u32> = words.iter().map(|word| word.len() as u32).collect();
    Arc::new(Vocabulary::new(&words.concat(), &lengths, &[end(words)]).unwrap())
}

fn end(words: &[Vec<u8>]) -> u32 {
    words.len() as u32 - 2
}

fn mask(matcher: &mut Matcher, tokens: usize) -> (Vec<bool>, bool) {
    let mut bits = vec![0u32; tokens.div_ceil(32)];
    let may_end = matcher.mask(&mut bits).unwrap();
    ((0..tokens).map(|id| bits[id / 32] >> (id % 32) & 1 == 1).collect(), may_end)
}

/// Whether `bytes` may follow `before`, one by one.
fn follows(grammar: &Grammar, before: &[u32], bytes: &[u8], tokens: usize) -> bool {
    let mut matcher = grammar.start();
    if !before.is_empty() {
        matcher.accept(before).unwrap();
    }
    bytes.iter().all(|byte| mask(&mut matcher, tokens).0[*byte as usize] && matcher.accept(&[u32::from(*byte)]).is_ok())
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GRAMMARS: [(Kind, &str); 6] = [
    (
        Kind::JsonSchema,
        r#"{"type":"object","properties":{"aé":{"type":"array","items":{"type":["number","boolean"]}},"b":{"type":"string","maxLength":4}},"required":["aé"],"additionalProperties":false}"#,
    ),
    (Kind::JsonSchema, r#"{"type":"object"}"#),
    (Kind::Regex, r"(ab)+é?|[^a-z]{2,3}"),
    (Kind::Regex, r"\d{2}(é|😀)*"),
    (Kind::Lark, "start: \"[\" (item (\",\" item)*)? \"]\"\nitem: start | /[0-9]+/"),
    (
        Kind::JsonSchema,
        r##"{"$defs":{"t":{"type":"object","properties":{"l":{"anyOf":[{"$ref":"#/$defs/t"},{"type":"null"}]}},"required":["l"],"additionalProperties":false}},"$ref":"#/$defs/t"}"##,
    ),
];

#[test]
fn a_token_is_allowed_exactly_where_its_bytes_are() {
    let words = words();
    let vocabulary = vocabulary(&words);
    let mut seed = 7;
    let mut ended = 0;
    for (kind, text) in GRAMMARS {
        let grammar = vocabulary.compile(kind, text).unwrap();
        for _ in 0..6 {
            let mut matcher = grammar.start();
            let mut before: Vec<u32> = Vec::new();
            for _ in 0..24 {
                let (allowed, may_end) = mask(&mut matcher, words.len());
                assert_eq!(allowed[end(&words) as usize], may_end);
                assert!(!allowed[words.len() - 1], "a control token that ends nothing");
                for (id, word) in words.iter().enumerate().skip(256).filter(|(_, word)| !word.is_empty()) {
                    let bytes = follows(&grammar, &before, word, words.len());
                    assert_eq!(allowed[id], bytes, "{text}: {word:?} after {before:?}");
                }
                let choices: Vec<usize> = (0..words.len() - 2).filter(|id| allowed[*id]).collect();
                if choices.is_empty() {
                    assert!(may_end, "{text}: nothing may follow {before:?}");
                    break;
                }
                let id = choices[(next(&mut seed) % choices.len() as u64) as usize] as u32;
                before.push(id);
                if matcher.accept(&[id]).unwrap() == State::Complete {
                    ended += 1;
                    break;
                }
            }
            let bytes: Vec<u8> = before.iter().flat_map(|id| words[*id as usize].clone()).collect();
            if let Err(error) = std::str::from_utf8(&bytes) {
                assert!(error.error_len().is_none(), "{text}: no text: {bytes:?}");
            }
        }
    }
    assert!(ended > 0, "no text was completed");
}

#[test]
fn a_token_that_is_not_allowed_is_refused_and_ends_the_matcher() {
    let words = words();
    let grammar = vocabulary(&words).compile(Kind::Regex, "ab").unwrap();
    let mut matcher = grammar.start();
    assert!(matcher.accept(&[u32::from(b'b')]).is_err());
    assert!(matcher.accept(&[u32::from(b'a')]).is_err());
    assert!(matcher.mask(&mut vec![0; words.len().div_ceil(32)]).is_err());
    let mut other = grammar.start();
    assert!(other.accept(&[1 << 20]).is_err(), "no such token");
    assert!(other.mask(&mut [0; 2]).is_err(), "too few words");
    assert_eq!(other.accept(&[u32::from(b'a'), u32::from(b'b')]).unwrap(), State::Complete);
}

#[test]
fn hostile_grammars_are_refused_or_bounded_and_others_go_on() {
    let words = words();
    let vocabulary = vocabulary(&words);
    let deep = |open: &str, close: &str, n: usize| format!("{}{}{}", open.repeat(n), "a", close.repeat(n));
    let schema = |n: usize| format!("{}true{}", r#"{"items":"#.repeat(n), "}".repeat(n));
    for (kind, text) in [
        (Kind::Regex, deep("(", ")", 100_000)),
        (Kind::Regex, deep("(", ")?", 249)),
        (Kind::Regex, deep("(", "){1,99}", 40)),
        (Kind::Regex, "(a".into()),
        (Kind::Regex, "a(?=b)".into()),
        (Kind::Regex, r"(a)\1".into()),
        (Kind::Regex, r"\p{Han}{1,100000}x".into()),
        (Kind::Regex, "(.*a){30}b{300}".into()),
        (Kind::Regex, "[^\\x00-\\x{10ffff}]".into()),
        (Kind::JsonSchema, schema(120)),
        (Kind::JsonSchema, schema(100_000)),
        (Kind::JsonSchema, "{".into()),
        (Kind::JsonSchema, "7".into()),
        (Kind::JsonSchema, r##"{"$ref":"#"}"##.into()),
        (Kind::JsonSchema, r##"{"allOf":[{"$ref":"#"},{"type":"object"}]}"##.into()),
        (Kind::JsonSchema, r#"{"type":"string","minLength":4000000000}"#.into()),
        (Kind::JsonSchema, r#"{"type":"array","minItems":100000000,"items":{"type":"array"}}"#.into()),
        (
            Kind::JsonSchema,
            format!(r#"{{"enum":[{}0]}}"#, (0..20_000).map(|i| format!("\"{i}\",")).collect::<String>()),
        ),
        (Kind::JsonSchema, r#"{"type":"integer","minimum":5,"maximum":4}"#.into()),
        (Kind::JsonSchema, r#"{"type":"integer","multipleOf":1e300,"minimum":1}"#.into()),
        (Kind::JsonSchema, r#"{"type":"number","multipleOf":1e-300}"#.into()),
        (Kind::Lark, deep("start: ((", "))", 40_000)),
        (Kind::Lark, format!("start: {}", "\"a\"? ".repeat(20_000))),
        (Kind::Lark, "start: start start | start | \"a\" | ".into()),
        (Kind::Lark, "start: a\na: b\nb: a".into()),
        (Kind::Lark, "start: x{0,1000000000}\nx: \"a\" | x x".into()),
        (Kind::Lark, "\u{0}\u{ffff}%json {".into()),
        (Kind::Lark, "start: %json {\"not\": {}}".into()),
        (Kind::Lark, "start: /a/ <[12]> <[99999999]> <|none|>".into()),
    ] {
        let began = std::time::Instant::now();
        let outcome = vocabulary.compile(kind, &text);
        assert!(began.elapsed().as_secs() < 20, "{kind:?} {}: {:?}", &text[..text.len().min(60)], began.elapsed());
        match outcome {
            Err(error) => assert!(!error.0.is_empty() && error.0.len() < 500, "{}", error.0),
            Ok(grammar) => {
                let mut matcher = grammar.start();
                for _ in 0..40 {
                    let mut bits = vec![0; words.len().div_ceil(32)];
                    let began = std::time::Instant::now();
                    if matcher.mask(&mut bits).is_err() {
                        break;
                    }
                    assert!(began.elapsed().as_millis() < 2000, "{text:.60}: a mask took {:?}", began.elapsed());
                    let Some(id) = (0..words.len() - 2).find(|id| bits[id / 32] >> (id % 32) & 1 == 1) else { break };
                    if matcher.accept(&[id as u32]).is_err() {
                        break;
                    }
                }
            }
        }
    }
    assert!(vocabulary.compile(Kind::Regex, "ab").is_ok());
}

#[test]
fn vocabularies_of_odd_shapes_are_refused_or_work() {
    assert!(Vocabulary::new(&[1, 2], &[1], &[]).is_err());
    assert!(Vocabulary::new(&[], &[], &[]).is_err());
    assert!(Vocabulary::new(&[1], &[1], &[1]).is_err());
    // No end token, a token twice, and one longer than the trie takes.
    let long = [b"a".to_vec(), b"a".to_vec(), vec![b'a'; 3000], b"b".to_vec()];
    let lengths: Vec<u32> = long.iter().map(|word| word.len() as u32).collect();
    let grammar =
        Arc::new(Vocabulary::new(&long.concat(), &lengths, &[]).unwrap()).compile(Kind::Regex, "a*b").unwrap();
    let mut matcher = grammar.start();
    let (allowed, may_end) = mask(&mut matcher, 4);
    assert!((allowed[0] || allowed[1]) && !allowed[2] && allowed[3] && !may_end);
    let first = if allowed[0] { 0 } else { 1 };
    assert_eq!(matcher.accept(&[first]).unwrap(), State::Open);
    assert_eq!(matcher.accept(&[3]).unwrap(), State::Complete);
}
