//! Exports of the vector index.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sparrow_index::{AttentionIndex, BuildOptions, Hit, IndexError, Rows, Strategy, VectorIndex};

use crate::args;
use crate::panic::guard;
use crate::slab::Slab;
use crate::status::{Code, Failure};

static INDEXES: Slab<RwLock<AttentionIndex>> = Slab::new("index");

/// Reading goes on while others read; a panic inside a writer leaves the index as it was or with its new keys.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Argument(text) => Failure::argument(text),
            IndexError::Format(text) => Failure::new(Code::Format, text),
            IndexError::Io(text) => Failure::new(Code::Io, text),
        }
    }
}

/// Strategies by the bits of a mask: 1 graph, 2 clusters, 4 flat; none means all.
pub(crate) fn strategies(mask: u32) -> Vec<&'static str> {
    ["graph", "clusters", "flat"].into_iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|x| x.1).collect()
}

/// The number of a strategy in [`sparrow_index_info`].
fn number(strategy: Strategy) -> u32 {
    match strategy {
        Strategy::Graph { .. } => 0,
        Strategy::Clusters { .. } => 1,
        Strategy::Flat { .. } => 2,
    }
}

/// Builds an index over `keys` (rows of `dim`) from a sample of `queries` (the same; may be none). `max_queries` 0 lets the
/// index decide; `strategies` is a mask of 1 graph, 2 clusters, 4 flat, 0 for all.
///
/// # Safety
/// The arrays must be readable for their lengths in elements, and `out_handle` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_index_build(
    keys: *const f32,
    keys_len: u32,
    queries: *const f32,
    queries_len: u32,
    dim: u32,
    seed: u32,
    cluster_size: u32,
    max_queries: u32,
    recall: f32,
    k: u32,
    strategies_mask: u32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (keys, queries) = unsafe {
            (args::input("keys", keys, keys_len as usize)?, args::input("queries", queries, queries_len as usize)?)
        };
        let dim = dim as usize;
        let options = BuildOptions {
            seed: u64::from(seed),
            cluster_size: cluster_size as usize,
            max_queries: max_queries as usize,
            recall,
            k: k as usize,
            strategies: strategies(strategies_mask),
            keep_all: false,
            threads: 1,
        };
        let index =
            AttentionIndex::build(Rows::new("keys", keys, dim)?, Rows::new("queries", queries, dim)?, &options)?;
        let handle = INDEXES.insert(RwLock::new(index));
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, handle) }
    })
}

/// Opens an index file.
///
/// # Safety
/// `path` must be readable for `path_len` bytes and `out_handle` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_index_open(path: *const u8, path_len: u32, out_handle: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let path = unsafe { args::text("path", path, path_len as usize) }?;
        let handle = INDEXES.insert(RwLock::new(AttentionIndex::open(path)?));
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, handle) }
    })
}

/// Writes the index to a file.
///
/// # Safety
/// `path` must be readable for `path_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_index_save(handle: u64, path: *const u8, path_len: u32) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let path = unsafe { args::text("path", path, path_len as usize) }?;
        Ok(read(&*INDEXES.get(handle)?).save(path)?)
    })
}

/// Appends keys (rows of the index's dimension).
///
/// # Safety
/// `keys` must be readable for `keys_len` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_index_append(handle: u64, keys: *const f32, keys_len: u32) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let keys = unsafe { args::input("keys", keys, keys_len as usize) }?;
        let index = INDEXES.get(handle)?;
        let mut index = write(&index);
        let dim = index.dim();
        Ok(index.append(Rows::new("keys", keys, dim)?)?)
    })
}

/// The `k` keys of largest inner product found for each query (rows of the index's dimension), best first: `ids` and
/// `scores` are `[queries, k]`, filled up with id 2^32 - 1 and score -inf. `effort` 0 is the index's own. `scanned` is
/// `[queries]`: the inner products that it took.
///
/// # Safety
/// `queries` must be readable for `queries_len` elements; `ids` and `scores` writable for `hits_len`, `scanned` for
/// `scanned_len`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_index_search(
    handle: u64,
    queries: *const f32,
    queries_len: u32,
    k: u32,
    effort: u32,
    ids: *mut u32,
    scores: *mut f32,
    hits_len: u32,
    scanned: *mut u32,
    scanned_len: u32,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (queries, ids, scores, scanned) = unsafe {
            (
                args::input("queries", queries, queries_len as usize)?,
                args::output("ids", ids, hits_len as usize)?,
                args::output("scores", scores, hits_len as usize)?,
                args::output("scanned", scanned, scanned_len as usize)?,
            )
        };
        let index = INDEXES.get(handle)?;
        let index = read(&index);
        let queries = Rows::new("queries", queries, index.dim())?;
        queries.fit_scores("search")?;
        let k = k as usize;
        if ids.len() != queries.len() * k || scanned.len() != queries.len() {
            return Err(Failure::argument(format!(
                "search: room for {} hits and {} counts, expected {} queries of {k}",
                ids.len(),
                scanned.len(),
                queries.len()
            )));
        }
        let effort = if effort == 0 { index.strategy_for(k).effort() } else { effort as usize };
        let mut hits: Vec<Hit> = Vec::new();
        for (place, query) in queries.iter().enumerate() {
            scanned[place] = index.search(query, k, effort, &mut hits) as u32;
            let none = Hit { score: f32::NEG_INFINITY, id: u32::MAX };
            for (slot, hit) in hits.iter().chain(std::iter::repeat(&none)).take(k).enumerate() {
                ids[place * k + slot] = hit.id;
                scores[place * k + slot] = hit.score;
            }
        }
        Ok(())
    })
}

/// What the index is: `out` gets keys, dimension, bytes (low half, high half), strategy (0 graph, 1 clusters, 2 flat) and
/// effort.
///
/// # Safety
/// `out` must be writable for 6 elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_index_info(handle: u64, out: *mut u32) -> i32 {
    guard(|| {
        let index = INDEXES.get(handle)?;
        let index = read(&index);
        let bytes = index.bytes() as u64;
        let strategy = index.strategy();
        let info = [
            index.len() as u32,
            index.dim() as u32,
            bytes as u32,
            (bytes >> 32) as u32,
            number(strategy),
            strategy.effort() as u32,
        ];
        // SAFETY: by this function's own contract.
        unsafe { args::output("out", out, info.len()) }?.copy_from_slice(&info);
        Ok(())
    })
}

/// Frees the index.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_index_dispose(handle: u64) -> i32 {
    guard(|| INDEXES.remove(handle))
}
