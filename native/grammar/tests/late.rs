//! A grammar that takes for ever does not take its callers along. By itself in this file: the threads that it leaves behind count for all.

use std::sync::Arc;
use std::time::Instant;

use sparrow_grammar::{Kind, Vocabulary};

#[test]
fn nobody_waits_for_a_grammar_that_takes_for_ever_nor_do_many_threads() {
    let bytes: Vec<u8> = (0..=255).collect();
    let vocabulary = Arc::new(Vocabulary::new(&bytes, &[1; 256], &[]).unwrap());
    // Each further conjunct about doubles the time; twelve take some 50 ms.
    let patterns: Vec<String> = (0..60)
        .map(|i| format!(r#"{{"type":"string","pattern":".*{}.{{{i}}}"}}"#, char::from(b'a' + i % 26)))
        .collect();
    let endless = format!(r#"{{"allOf":[{}]}}"#, patterns.join(","));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let error = vocabulary.compile(Kind::JsonSchema, &endless).err().expect("it takes for ever");
                assert!(error.0.contains("not compiled within"), "{error}");
            });
        }
        assert!(vocabulary.compile(Kind::Regex, "ab").is_ok(), "others go on meanwhile");
    });
    assert!(began.elapsed().as_secs() < 30);
    let error = vocabulary.compile(Kind::Regex, "a").err().expect("two threads are enough");
    assert!(error.0.contains("earlier ones"), "{error}");
}
