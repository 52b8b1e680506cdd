//! Exports of a sequence's keys and values in CPU memory, as the decode path uses them: pages as the GPU holds them come in,
//! one call a model layer attends for every sequence of a step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use rayon::prelude::*;
use sparrow_index::{AttendOptions, AttentionLayer, Budget, BuildOptions, IndexError, LayerOptions, Partial, Report};
use sparrow_kernels::{HalfFloatSliceExt, f16};
use sparrow_threads::with_threads;

use crate::args;
use crate::index::{read, write};
use crate::panic::guard;
use crate::slab::Slab;
use crate::status::Failure;

static CONTEXTS: Slab<Context> = Slab::new("KV context");

/// Tokens of a page, as on the GPU.
const PAGE_TOKENS: usize = 64;

/// Sizes that all layers share.
#[derive(Clone, Copy)]
struct Shape {
    kv_heads: usize,
    query_heads: usize,
    dim: usize,
    /// Elements from one row to the next in the caller's arrays: `dim` and padding.
    stride: usize,
    scale: f32,
    seed: u64,
}

/// One sequence.
struct Context {
    shape: Shape,
    layers: Vec<RwLock<Layer>>,
    /// Bytes of all layers, kept apart so that asking does not wait for a build.
    bytes: AtomicU64,
}

enum Layer {
    /// Rows as they came, until the prompt is complete.
    Staged {
        keys: Vec<Vec<f16>>,
        values: Vec<Vec<f16>>,
        queries: Vec<Vec<f16>>,
    },
    Built(AttentionLayer),
}

impl Layer {
    fn bytes(&self) -> usize {
        match self {
            Self::Staged { keys, values, queries } => {
                2 * [keys, values, queries].into_iter().flatten().map(Vec::len).sum::<usize>()
            }
            Self::Built(layer) => layer.bytes(),
        }
    }
}

impl Context {
    fn layer(&self, layer: u32) -> Result<&RwLock<Layer>, Failure> {
        let count = self.layers.len();
        self.layers
            .get(layer as usize)
            .ok_or_else(|| Failure::argument(format!("layer {layer} of a KV context of {count}")))
    }

    /// Runs `change` on a layer and keeps the books of bytes.
    fn change(&self, layer: u32, change: impl FnOnce(&mut Layer) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut layer = write(self.layer(layer)?);
        let before = layer.bytes() as u64;
        let outcome = change(&mut layer);
        self.bytes.fetch_add((layer.bytes() as u64).wrapping_sub(before), Ordering::Relaxed);
        outcome
    }
}

/// As single precision; by slices, which the conversion has instructions for.
fn widen(halves: &[f16]) -> Vec<f32> {
    let mut wide = vec![0f32; halves.len()];
    halves.convert_to_f32_slice(&mut wide);
    wide
}

impl Shape {
    /// Rows of one head out of pages `[pages][kv_heads][64][stride]`.
    fn rows<'a>(&self, pages: &'a [u16], head: usize) -> impl Iterator<Item = &'a [u16]> {
        let Shape { kv_heads, stride, dim, .. } = *self;
        pages.chunks_exact(kv_heads * PAGE_TOKENS * stride).flat_map(move |page| {
            page[head * PAGE_TOKENS * stride..][..PAGE_TOKENS * stride].chunks_exact(stride).map(move |row| &row[..dim])
        })
    }

    /// `[kv_heads, tokens, dim]` of pages, for the index.
    fn spread(&self, pages: &[u16]) -> Vec<f32> {
        let rows = (0..self.kv_heads).flat_map(|head| self.rows(pages, head));
        rows.flatten().map(|bits| f16::from_bits(*bits).to_f32()).collect()
    }
}

/// Opens an empty context. `stride` is the number of elements from one row to the next in pages, queries and outputs, of
/// which the first `dim` count; `scale` the factor on scores before the (natural) softmax.
///
/// # Safety
/// `out_handle` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_context_open(
    layers: u32,
    kv_heads: u32,
    query_heads: u32,
    dim: u32,
    stride: u32,
    scale: f32,
    seed: u32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        let sizes = [layers, kv_heads, query_heads, dim, stride];
        if sizes.contains(&0)
            || sizes.iter().any(|size| *size > 1 << 16)
            || !query_heads.is_multiple_of(kv_heads)
            || dim > stride
        {
            return Err(Failure::argument(format!(
                "KV context: {layers} layers, {query_heads} query heads over {kv_heads} KV heads of {dim} elements, {stride} apart"
            )));
        }
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Failure::argument(format!("KV context: scale is {scale}, expected a positive number")));
        }
        let shape = Shape {
            kv_heads: kv_heads as usize,
            query_heads: query_heads as usize,
            dim: dim as usize,
            stride: stride as usize,
            scale,
            seed: u64::from(seed),
        };
        let empty = |count: usize| vec![Vec::new(); count];
        let staged = || {
            let [keys, values] = [empty(shape.kv_heads), empty(shape.kv_heads)];
            RwLock::new(Layer::Staged { keys, values, queries: empty(shape.query_heads) })
        };
        let layers = (0..layers).map(|_| staged()).collect();
        let handle = CONTEXTS.insert(Context { shape, layers, bytes: AtomicU64::new(0) });
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, handle) }
    })
}

/// Adds whole pages `[pages][kv_heads][64][stride]` of half-precision keys and values, as bits.
///
/// # Safety
/// The arrays must be readable for their lengths in elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_context_append(
    handle: u64,
    layer: u32,
    keys: *const u16,
    keys_len: u32,
    values: *const u16,
    values_len: u32,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (new_keys, new_values) = unsafe {
            (args::input("keys", keys, keys_len as usize)?, args::input("values", values, values_len as usize)?)
        };
        let context = CONTEXTS.get(handle)?;
        let shape = context.shape;
        let page = shape.kv_heads * PAGE_TOKENS * shape.stride;
        if !new_keys.len().is_multiple_of(page) || new_values.len() != new_keys.len() {
            let (keys, values) = (new_keys.len(), new_values.len());
            return Err(Failure::argument(format!(
                "append {keys} key and {values} value elements, expected pages of {page}"
            )));
        }
        context.change(layer, |layer| match layer {
            Layer::Staged { keys, values, .. } => {
                for (store, pages) in [(keys, new_keys), (values, new_values)] {
                    store.par_iter_mut().enumerate().for_each(|(head, rows)| {
                        rows.reserve(pages.len() / shape.stride * shape.dim / shape.kv_heads);
                        shape
                            .rows(pages, head)
                            .for_each(|row| rows.extend(row.iter().map(|bits| f16::from_bits(*bits))));
                    });
                }
                Ok(())
            }
            Layer::Built(built) => Ok(built.append(&shape.spread(new_keys), &shape.spread(new_values))?),
        })
    })
}

/// Adds a sample of the prompt's queries, `[tokens][query_heads][stride]`: what the index is built for.
///
/// # Safety
/// `queries` must be readable for its length in elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_context_sample(handle: u64, layer: u32, queries: *const f32, queries_len: u32) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let sample = unsafe { args::input("queries", queries, queries_len as usize) }?;
        let context = CONTEXTS.get(handle)?;
        let Shape { query_heads, dim, stride, .. } = context.shape;
        if !sample.len().is_multiple_of(query_heads * stride) {
            let found = sample.len();
            return Err(Failure::argument(format!(
                "sample: {found} query elements, expected tokens of {query_heads} x {stride}"
            )));
        }
        context.change(layer, |layer| {
            let Layer::Staged { queries, .. } = layer else {
                return Err(Failure::argument("sample queries: the layer's index is built already"));
            };
            for token in sample.chunks_exact(query_heads * stride) {
                for (rows, row) in queries.iter_mut().zip(token.chunks_exact(stride)) {
                    rows.extend(row[..dim].iter().map(|x| f16::from_f32(*x)));
                }
            }
            Ok(())
        })
    })
}

/// Builds the index of one layer over what was added; later pages are appended to it. `target` is the usual budget,
/// a mean relative error of the output. With `fixed` 1 and not 0, a fixed number of keys is found by a graph where that is the
/// cheapest, which takes memory besides and several times as long to build. Takes long: meant to be called off the main thread.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_context_build(handle: u64, layer: u32, target: f32, fixed: u32) -> i32 {
    guard(|| {
        if fixed > 1 {
            return Err(Failure::argument(format!("build: fixed is {fixed}, expected 0 or 1")));
        }
        let fixed = fixed == 1;
        if !(target.is_finite() && target > 0.0) {
            return Err(Failure::argument(format!("build: target is {target}, expected a positive number")));
        }
        let context = CONTEXTS.get(handle)?;
        let Shape { kv_heads, query_heads, dim, scale, seed, .. } = context.shape;
        context.change(layer, |place| {
            let Layer::Staged { keys, values, queries } = place else {
                return Err(Failure::argument("build: the layer's index is built already"));
            };
            let group = query_heads / kv_heads;
            let part = |head: usize| -> Result<_, IndexError> {
                let queries: Vec<Vec<f32>> = queries[head * group..][..group].iter().map(|rows| widen(rows)).collect();
                Ok((widen(&keys[head]), widen(&values[head]), queries.concat()))
            };
            // For an error budget whole clusters are read wherever that is cheaper than all keys, and no graph was ever of use to it.
            let strategies = if fixed { vec![] } else { vec!["clusters", "flat"] };
            // A step has as many threads as the machine.
            let (seed, threads) = (seed ^ u64::from(layer) << 32, rayon::current_num_threads());
            let build = BuildOptions { seed, strategies, threads, ..BuildOptions::default() };
            let options = LayerOptions { kv_heads, query_heads, dim, value_dim: dim, scale, target, fixed, build };
            let built = AttentionLayer::build_by_head(&options, part)?;
            *place = Layer::Built(built);
            Ok(())
        })
    })
}

/// Attention of one token of each of `rows` contexts over all that their layer holds. `queries` and `output` are
/// `[rows, query_heads, stride]`, `lse` is `[rows, query_heads]`. `budget_kinds`: 0 all keys, 1 the best `budgets` keys, 2 as
/// many as keep the relative error under `budgets`. `reports` is `[rows, query_heads, 3]`: keys scored, share of the mass not
/// computed key by key (of kind 1 only when `want_bound` is 1), and when `want_bound` is 1 an upper bound on that share.
///
/// # Safety
/// `handles`, `budget_kinds` and `budgets` must be readable for `rows` elements, `queries` for `queries_len`; `output` must be
/// writable for `queries_len`, `lse` and `reports` for theirs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_context_attend(
    handles: *const u64,
    rows: u32,
    layer: u32,
    queries: *const f32,
    queries_len: u32,
    budget_kinds: *const u32,
    budgets: *const f32,
    want_bound: u32,
    output: *mut f32,
    lse: *mut f32,
    lse_len: u32,
    reports: *mut f32,
    reports_len: u32,
) -> i32 {
    guard(|| {
        let rows = rows as usize;
        // SAFETY: by this function's own contract.
        let (handles, kinds, budgets, queries) = unsafe {
            (
                args::input("handles", handles, rows)?,
                args::input("budget_kinds", budget_kinds, rows)?,
                args::input("budgets", budgets, rows)?,
                args::input("queries", queries, queries_len as usize)?,
            )
        };
        // SAFETY: by this function's own contract.
        let (output, lse, reports) = unsafe {
            (
                args::output("output", output, queries_len as usize)?,
                args::output("lse", lse, lse_len as usize)?,
                args::output("reports", reports, reports_len as usize)?,
            )
        };
        if rows == 0 {
            return Ok(());
        }
        let contexts =
            handles.iter().map(|handle| CONTEXTS.get(*handle)).collect::<Result<Vec<Arc<Context>>, Failure>>()?;
        let shape = contexts[0].shape;
        let Shape { query_heads, dim, stride, .. } = shape;
        let heads = rows * query_heads;
        let alike = |c: &Arc<Context>| (c.shape.query_heads, c.shape.dim, c.shape.stride) == (query_heads, dim, stride);
        if !contexts.iter().all(alike)
            || queries.len() != heads * stride
            || lse.len() != heads
            || reports.len() != 3 * heads
        {
            return Err(Failure::argument(format!(
                "attend: {} query elements, {} log-masses, {} report numbers for {rows} rows of {query_heads} heads of {stride}",
                queries.len(),
                lse.len(),
                reports.len()
            )));
        }
        let options = (kinds.iter().zip(budgets))
            .map(|(kind, budget)| match kind {
                0 => Ok(Budget::All),
                1 if *budget >= 0.0 => Ok(Budget::Keys(*budget as usize)),
                2 if *budget >= 0.0 => Ok(Budget::Error(*budget)),
                _ => Err(Failure::argument(format!("attend: budget {budget} of kind {kind}"))),
            })
            .collect::<Result<Vec<Budget>, Failure>>()?;
        // Locked here and not by the threads: one that waits for others takes up another row meanwhile, and would wait for a lock that it
        // holds itself where somebody waits to write. Each once and in one order, so that no two calls wait for each other either.
        let layers = contexts.iter().map(|context| context.layer(layer)).collect::<Result<Vec<_>, Failure>>()?;
        let place = |layer: &&RwLock<Layer>| std::ptr::from_ref(*layer).addr();
        let mut each = layers.clone();
        each.sort_unstable_by_key(place);
        each.dedup_by_key(|layer| place(layer));
        let locked: Vec<_> = each.iter().map(|layer| read(layer)).collect();
        let one = |row: usize| -> Result<Vec<(Partial, Report)>, Failure> {
            let own = &queries[row * query_heads * stride..][..query_heads * stride];
            let packed: Vec<f32> = own.chunks_exact(stride).flat_map(|head| &head[..dim]).copied().collect();
            if let Some(found) = packed.iter().find(|x| !x.is_finite()) {
                return Err(Failure::argument(format!("attend: a query holds {found}, expected finite numbers")));
            }
            let number = each.partition_point(|layer| place(layer) < place(&layers[row]));
            let Layer::Built(built) = &*locked[number] else {
                return Err(Failure::argument("attend: the layer's index is not built yet"));
            };
            Ok(built.attend(&packed, AttendOptions { budget: options[row], bound: want_bound == 1 }))
        };
        let found = with_threads(|| (0..rows).into_par_iter().map(one).collect::<Result<Vec<_>, Failure>>())?;
        output.fill(0.0);
        for (head, (partial, report)) in found.iter().flatten().enumerate() {
            output[head * stride..][..dim].copy_from_slice(&partial.output);
            lse[head] = partial.lse;
            reports[head * 3..][..3].copy_from_slice(&[report.scanned as f32, report.rest, report.bound]);
        }
        Ok(())
    })
}

/// Bytes held: `out` gets the low and the high half.
///
/// # Safety
/// `out` must be writable for 2 elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_context_bytes(handle: u64, out: *mut u32) -> i32 {
    guard(|| {
        let bytes = CONTEXTS.get(handle)?.bytes.load(Ordering::Relaxed);
        // SAFETY: by this function's own contract.
        unsafe { args::output("out", out, 2) }?.copy_from_slice(&[bytes as u32, (bytes >> 32) as u32]);
        Ok(())
    })
}

/// Frees the context; a build or an attention under way ends first.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_context_dispose(handle: u64) -> i32 {
    guard(|| CONTEXTS.remove(handle))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn rows_of_one_context_are_attended_while_others_wait_to_append() {
        let (kv_heads, dim, pages, rows) = (8u32, 16u32, 16u32, 32usize);
        let mut handle = 0;
        let count = (pages * kv_heads * 64 * dim) as usize;
        let bits = |seed: usize| -> Vec<u16> {
            (0..count).map(|i| f16::from_f32(((i * 7919 + seed) % 1013) as f32 / 500.0 - 1.0).to_bits()).collect()
        };
        let (keys, values) = (bits(1), bits(2));
        let queries: Vec<f32> = (0..kv_heads * dim).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        // SAFETY: all arrays are as long as is said.
        let done = unsafe {
            [
                sparrow_context_open(1, kv_heads, kv_heads, dim, dim, 0.25, 1, &mut handle),
                sparrow_context_append(handle, 0, keys.as_ptr(), count as u32, values.as_ptr(), count as u32),
                sparrow_context_sample(handle, 0, queries.as_ptr(), queries.len() as u32),
                sparrow_context_build(handle, 0, 0.01, 0),
            ]
        };
        assert_eq!(done, [0; 4]);
        static ENDED: AtomicBool = AtomicBool::new(false);
        let writer = std::thread::spawn(move || {
            while !ENDED.load(Ordering::Relaxed) {
                // SAFETY: nothing is read.
                assert_eq!(unsafe { sparrow_context_append(handle, 0, [].as_ptr(), 0, [].as_ptr(), 0) }, 0);
            }
        });
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let all = queries.repeat(rows);
            let heads = rows * kv_heads as usize;
            let (mut output, mut lse, mut reports) = (vec![0f32; all.len()], vec![0f32; heads], vec![0f32; 3 * heads]);
            for _ in 0..200 {
                // SAFETY: all arrays are as long as is said.
                let status = unsafe {
                    sparrow_context_attend(
                        vec![handle; rows].as_ptr(),
                        rows as u32,
                        0,
                        all.as_ptr(),
                        all.len() as u32,
                        vec![0; rows].as_ptr(),
                        vec![0.0; rows].as_ptr(),
                        0,
                        output.as_mut_ptr(),
                        lse.as_mut_ptr(),
                        heads as u32,
                        reports.as_mut_ptr(),
                        3 * heads as u32,
                    )
                };
                assert_eq!(status, 0);
            }
            assert!(output.chunks_exact(queries.len()).all(|row| *row == output[..queries.len()]));
            send.send(()).unwrap();
        });
        receive.recv_timeout(Duration::from_secs(60)).expect("an answer: a thread may wait for a lock that it holds");
        ENDED.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert_eq!(sparrow_context_dispose(handle), 0);
    }
}
