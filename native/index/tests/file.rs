//! Index files: what is saved comes back, and no file crashes the reader.

mod support;

use proptest::prelude::*;
use sparrow_index::{AttentionIndex, BuildOptions, Hit, IndexError, Rows, VectorIndex};
use support::head;

fn index(name: &'static str, keys: usize) -> (AttentionIndex, Vec<f32>) {
    let dim = 12;
    let (rows, queries, _) = head(keys, 300, dim, 1);
    let options = BuildOptions { k: 10, strategies: vec![name], ..BuildOptions::default() };
    let index = AttentionIndex::build(Rows { data: &rows, dim }, Rows { data: &queries, dim }, &options).unwrap();
    (index, queries)
}

fn answers(index: &AttentionIndex, queries: &[f32]) -> Vec<Vec<Hit>> {
    let mut hits = Vec::new();
    let mut all = Vec::new();
    for query in queries.chunks_exact(index.dim()).take(30) {
        index.search(query, 10, index.strategy().effort(), &mut hits);
        all.push(hits.clone());
    }
    all
}

#[test]
#[cfg_attr(miri, ignore = "maps files")]
fn a_saved_index_answers_the_same_and_grows() {
    let dir = std::env::temp_dir().join(format!("sparrow-index-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for name in ["graph", "clusters", "flat"] {
        let (mut index, queries) = index(name, 1500);
        let more: Vec<f32> = queries[..240].to_vec();
        index.append(Rows { data: &more, dim: 12 }).unwrap();
        let path = dir.join(name);
        index.save(path.to_str().unwrap()).unwrap();
        let mut opened = AttentionIndex::open(path.to_str().unwrap()).unwrap();
        assert_eq!(opened.strategy(), index.strategy());
        assert_eq!(answers(&opened, &queries), answers(&index, &queries), "{name}");
        for index in [&mut opened, &mut index] {
            index.append(Rows { data: &queries, dim: 12 }).unwrap();
            index.append(Rows { data: &queries, dim: 12 }).unwrap();
            index.append(Rows { data: &queries, dim: 12 }).unwrap();
            index.append(Rows { data: &queries, dim: 12 }).unwrap();
        }
        assert_eq!(answers(&opened, &queries), answers(&index, &queries), "{name} after growing");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "maps files")]
fn of_two_that_are_saved_at_once_a_reader_finds_one() {
    let dir = std::env::temp_dir().join(format!("sparrow-index-twice-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("index");
    let path = path.to_str().unwrap();
    let indexes = [index("flat", 40).0, index("graph", 900).0];
    indexes[0].save(path).unwrap();
    std::thread::scope(|scope| {
        for index in &indexes {
            scope.spawn(move || (0..40).for_each(|_| index.save(path).unwrap()));
        }
        for _ in 0..200 {
            let keys = AttentionIndex::open(path).unwrap().len();
            assert!([40, 900].contains(&keys), "{keys} keys");
        }
    });
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn damage_is_named() {
    let (index, _) = index("graph", 200);
    let good = index.to_bytes();
    let refused = |bytes: &[u8]| match AttentionIndex::from_bytes(bytes) {
        Err(IndexError::Format(text)) => text,
        other => panic!("accepted: {:?}", other.map(|_| ())),
    };
    assert!(refused(b"").contains("magic"));
    assert!(refused(&good[..good.len() - 1]).contains("bytes"));
    let mut version = good.clone();
    version[8] = 99;
    assert!(refused(&version).contains("version 99"));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(refused(&flipped).contains("checksum"));
    assert!(matches!(AttentionIndex::open("/nowhere/index"), Err(IndexError::Io(_))));
}

/// Puts the right checksum on a changed body.
fn reseal(bytes: &mut Vec<u8>) {
    let sealed = sparrow_index::seal(&bytes[64..], u32::from_le_bytes(bytes[12..16].try_into().unwrap()));
    *bytes = sealed;
}

/// Place of a section's entry in the table, and of its bytes.
fn section(bytes: &[u8], name: &str) -> (usize, usize) {
    let at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let mut entries = (64..at(64 + 16)).step_by(32);
    let named = |entry: &usize| bytes[*entry..*entry + 16].iter().take_while(|x| **x != 0).eq(name.as_bytes());
    let entry = entries.find(named).unwrap();
    (entry, at(entry + 16))
}

#[cfg(unix)]
#[test]
#[cfg_attr(miri, ignore = "writes files")]
fn saving_keeps_links_and_what_is_no_file() {
    use std::os::unix::{fs::FileTypeExt, fs::symlink, net::UnixListener};
    let dir = std::env::temp_dir().join(format!("sparrow-index-save-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (index, _) = index("flat", 90);
    let save = |name: &str| index.save(dir.join(name).to_str().unwrap());
    std::fs::write(dir.join("real"), "old").unwrap();
    symlink("real", dir.join("link")).unwrap();
    save("link").unwrap();
    assert!(dir.join("link").is_symlink());
    assert_eq!(std::fs::read(dir.join("real")).unwrap(), index.to_bytes());
    // What a link leads to may not be there yet.
    symlink("later", dir.join("ahead")).unwrap();
    save("ahead").unwrap();
    assert!(dir.join("ahead").is_symlink());
    assert_eq!(std::fs::read(dir.join("later")).unwrap(), index.to_bytes());
    symlink("round", dir.join("round")).unwrap();
    save("round").unwrap_err();
    let _listener = UnixListener::bind(dir.join("socket")).unwrap();
    let error = save("socket").unwrap_err().to_string();
    assert!(error.contains("socket: it exists and is no file"), "{error}");
    assert!(std::fs::metadata(dir.join("socket")).unwrap().file_type().is_socket());
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 6, "nothing is left behind");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_graph_whose_lists_are_too_short_to_grow_is_refused() {
    let (index, _) = index("graph", 120);
    let mut bytes = index.to_bytes();
    let (_, meta) = section(&bytes, "meta");
    let (edges, start) = section(&bytes, "edges");
    // A list of one edge for each node: no keys could be linked with it.
    bytes[meta + 28..meta + 32].copy_from_slice(&1u32.to_le_bytes());
    bytes[edges + 24..edges + 32].copy_from_slice(&(4 * 120u64).to_le_bytes());
    bytes[start..start + 4 * 120].fill(0);
    reseal(&mut bytes);
    match AttentionIndex::from_bytes(&bytes) {
        Err(IndexError::Format(text)) => assert!(text.contains("edges"), "{text}"),
        other => panic!("accepted: {:?}", other.map(|_| ())),
    }
}

#[test]
fn searches_that_keep_nothing_and_keys_that_are_no_numbers_are_refused() {
    for name in ["graph", "clusters", "flat"] {
        let (index, _) = index(name, 120);
        let good = index.to_bytes();
        let refused = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = good.clone();
            change(&mut bytes);
            reseal(&mut bytes);
            match AttentionIndex::from_bytes(&bytes) {
                Err(IndexError::Format(text)) => text,
                other => panic!("{name} accepted: {:?}", other.map(|_| ())),
            }
        };
        let (_, meta) = section(&good, "meta");
        let text = refused(&|bytes| bytes[meta + 12..meta + 16].fill(0));
        assert!(text.contains("expected 1 at least"), "{text}");
        let (_, halves) = section(&good, "halves");
        for (bits, shown) in [(0x7e00u16, "NaN"), (0xfc00, "-inf")] {
            let text = refused(&|bytes| bytes[halves + 2 * 17..][..2].copy_from_slice(&bits.to_le_bytes()));
            assert!(text.contains(&format!("element 5 of key 1 is {shown}, expected a finite number")), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    /// Changes that a checksum would catch are resealed: whatever still opens has to be safe to use.
    #[test]
    fn no_file_crashes_the_reader(changes in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..12), near in any::<bool>(), cut in any::<Option<u16>>()) {
        thread_local! {
            static FILES: (Vec<u8>, Vec<u8>) = (index("graph", 120).0.to_bytes(), index("flat", 90).0.to_bytes());
        }
        let mut bytes = FILES.with(|files| if changes[0].1 % 2 == 0 { files.0.clone() } else { files.1.clone() });
        if let Some(cut) = cut {
            bytes.truncate((cut as usize).max(64));
        }
        for (place, value) in &changes {
            // Half of the runs aim at the table and the small sections.
            let range = if near { bytes.len().min(2048) } else { bytes.len() };
            let place = 64 + *place as usize % (range - 64).max(1);
            if place < bytes.len() {
                bytes[place] = *value;
            }
        }
        reseal(&mut bytes);
        if let Ok(mut index) = AttentionIndex::from_bytes(&bytes) {
            let query = vec![0.5f32; index.dim()];
            let mut hits = Vec::new();
            let effort = index.strategy().effort().min(1000);
            index.search(&query, 10, effort, &mut hits);
            let row = vec![0.25f32; index.dim()];
            index.append(Rows { data: &row, dim: index.dim() }).unwrap();
        }
    }
}
