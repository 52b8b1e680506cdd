//! Exports of a language model's layers: their cache of keys and values, and what they compute.

use std::sync::{Arc, RwLock};

use sparrow_dense::{Activation, AttentionShape, KvPages, KvShape, Layer, LayerShape, Matrix, Rope, Rows, attend};

use sparrow_threads::with_threads;

use crate::args;
use crate::index::{read, write};
use crate::panic::guard;
use crate::products::MATRICES;
use crate::slab::Slab;
use crate::status::Failure;

static CACHES: Slab<RwLock<KvPages>> = Slab::new("KV pages");
static ROPES: Slab<RopeTable> = Slab::new("rope table");
static LAYERS: Slab<RwLock<Held>> = Slab::new("dense layer");

/// Words of a step's rows in `spans`: first row, rows, position that is rotated, position among the pages, first of its pages in `pages`, how many
/// of them, 1 for a row that decodes.
const SPAN: usize = 7;
/// Vectors of a layer, in the order of `sparrow_layer_set`'s `which`.
const VECTORS: usize = 7;

/// Rotations of heads of `dim` elements.
struct RopeTable {
    values: Vec<f32>,
    dim: usize,
}

/// A layer with what it holds.
struct Held {
    shape: LayerShape,
    rope: Arc<RopeTable>,
    /// Of the cache.
    place: usize,
    matrices: [Arc<RwLock<Matrix>>; 4],
    vectors: [Vec<f32>; VECTORS],
}

impl Held {
    fn with<T>(&self, task: impl FnOnce(Layer<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let [qkv, output, up, down] = &self.matrices;
        let (qkv, output, up, down) = (read(qkv), read(output), read(up), read(down));
        let [attention, bias, heads, output_bias, attention_post, feed_forward, feed_forward_post] = &self.vectors;
        task(Layer {
            shape: self.shape,
            qkv: &qkv,
            output: &output,
            up: &up,
            down: &down,
            attention_gains: attention,
            qkv_bias: bias,
            head_gains: heads,
            output_bias,
            attention_post_gains: attention_post,
            feed_forward_gains: feed_forward,
            feed_forward_post_gains: feed_forward_post,
        })
    }
}

impl Held {
    fn project(&self, cache: &mut KvPages, rows: &[Rows<'_>], x: &[f32], queries: &mut [f32]) -> Result<(), Failure> {
        let rope = Rope::new(&self.rope.values, self.rope.dim)?;
        let (kernels, place) = (sparrow_kernels::best(), self.place);
        self.with(|layer| Ok(layer.project(kernels, (cache, place), rope, rows, x, queries)?))
    }

    fn attend(
        &self,
        cache: &KvPages,
        rows: &[Rows<'_>],
        queries: &[f32],
        attended: &mut [f32],
        log_masses: &mut [f32],
    ) -> Result<(), Failure> {
        let (kernels, shape) = (sparrow_kernels::best(), self.shape.attention);
        Ok(attend(kernels, shape, (cache, self.place), rows, queries, attended, log_masses)?)
    }

    fn complete(&self, attended: &[f32], x: &mut [f32]) -> Result<(), Failure> {
        self.with(|layer| Ok(layer.complete(sparrow_kernels::best(), attended, x)?))
    }
}

/// The rows of a step.
fn rows_of<'a>(spans: &[u32], pages: &'a [u32]) -> Result<Vec<Rows<'a>>, Failure> {
    let (spans, rest) = spans.as_chunks::<SPAN>();
    if !rest.is_empty() {
        return Err(Failure::argument(format!("spans: {} words too many, expected {SPAN} for each", rest.len())));
    }
    spans
        .iter()
        .map(|&[first, count, rotated, position, from, length, decodes]| {
            let table = pages.get(from as usize..).and_then(|pages| pages.get(..length as usize));
            let pages = table.ok_or_else(|| {
                Failure::argument(format!("spans: {length} pages from {from} on, of {}", pages.len()))
            })?;
            Ok(Rows {
                first: first as usize,
                count: count as usize,
                rotated: rotated as usize,
                position: position as usize,
                pages,
                decodes: decodes == 1,
            })
        })
        .collect()
}

/// Makes a cache of zeros in half precision, of `pages` pages of 64 tokens in each layer. Memory is taken as it is written.
///
/// # Safety
/// `out_handle` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_kv_open(
    layers: u32,
    kv_heads: u32,
    dim: u32,
    pages: u32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        let cache = KvPages::new(KvShape {
            layers: layers as usize,
            kv_heads: kv_heads as usize,
            dim: dim as usize,
            pages: pages as usize,
        })?;
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, CACHES.insert(RwLock::new(cache))) }
    })
}

/// Copies a page, all layers.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_kv_copy(handle: u64, from: u32, to: u32) -> i32 {
    guard(|| Ok(write(&*CACHES.get(handle)?).copy(from as usize, to as usize)?))
}

/// Pages of a layer as halves (their bits): keys and values, both `[page][KV head][64][dim]`.
///
/// # Safety
/// `pages` must be readable, `keys` and `values` writable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_kv_read(
    handle: u64,
    layer: u32,
    pages: *const u32,
    pages_len: u32,
    keys: *mut u16,
    keys_len: u32,
    values: *mut u16,
    values_len: u32,
) -> i32 {
    guard(|| {
        let cache = CACHES.get(handle)?;
        // SAFETY: by this function's own contract.
        let (pages, keys, values) = unsafe {
            (
                args::input("pages", pages, pages_len as usize)?,
                args::output("keys", keys, keys_len as usize)?,
                args::output("values", values, values_len as usize)?,
            )
        };
        Ok(read(&cache).read(layer as usize, pages, [keys, values])?)
    })
}

/// Sets pages of a layer to what `sparrow_kv_read` gives.
///
/// # Safety
/// `pages`, `keys` and `values` must be readable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_kv_write(
    handle: u64,
    layer: u32,
    pages: *const u32,
    pages_len: u32,
    keys: *const u16,
    keys_len: u32,
    values: *const u16,
    values_len: u32,
) -> i32 {
    guard(|| {
        let cache = CACHES.get(handle)?;
        // SAFETY: by this function's own contract.
        let (pages, keys, values) = unsafe {
            (
                args::input("pages", pages, pages_len as usize)?,
                args::input("keys", keys, keys_len as usize)?,
                args::input("values", values, values_len as usize)?,
            )
        };
        Ok(write(&cache).write(layer as usize, pages, [keys, values])?)
    })
}

/// Frees a cache.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_kv_dispose(handle: u64) -> i32 {
    guard(|| CACHES.remove(handle))
}

/// Makes a table of rotations for heads of `dim` elements: cos and sin of 256 positions, then of every 256th one, `[row][dim / 2][2]`.
///
/// # Safety
/// `values` must be readable for its length and `out_handle` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_rope_open(dim: u32, values: *const f32, values_len: u32, out_handle: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let values = unsafe { args::input("values", values, values_len as usize) }?;
        Rope::new(values, dim as usize)?;
        let table = RopeTable { values: values.to_vec(), dim: dim as usize };
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, ROPES.insert(table)) }
    })
}

/// Frees a table of rotations; layers that have it keep it.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_rope_dispose(handle: u64) -> i32 {
    guard(|| ROPES.remove(handle))
}

/// Makes a layer of four matrices (handles of `sparrow_matrix_open`), and a table of rotations, which it keeps alive; its norms' gains are still to be set. `place` is its number in the
/// cache; `dim` a head's padded dimension; `stride` the columns of `output`; `window` the latest keys that a row sees, 0 for all; `activation` 0 for SwiGLU,
/// 1 for GEGLU (outputs of `up` are pairs of gate and value), 2 for the square of the positive part.
///
/// # Safety
/// `out_handle` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_layer_open(
    qkv: u64,
    output: u64,
    up: u64,
    down: u64,
    rope: u64,
    place: u32,
    width: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    dim: u32,
    stride: u32,
    window: u32,
    activation: u32,
    epsilon: f32,
    query_scale: f32,
    residual_scale: f32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        let activation = match activation {
            0 => Activation::SwiGlu,
            1 => Activation::GeGlu,
            2 => Activation::Relu2,
            _ => return Err(Failure::argument(format!("dense layer: activation is {activation}, expected 0 to 2"))),
        };
        let attention = AttentionShape {
            heads: heads as usize,
            kv_heads: kv_heads as usize,
            dim: dim as usize,
            kept: head_dim as usize,
            stride: stride as usize,
            window: (window > 0).then_some(window as usize),
        };
        let shape = LayerShape {
            attention,
            head_dim: head_dim as usize,
            width: width as usize,
            epsilon,
            query_scale,
            residual_scale,
            activation,
        };
        let matrices = [MATRICES.get(qkv)?, MATRICES.get(output)?, MATRICES.get(up)?, MATRICES.get(down)?];
        let rope = ROPES.get(rope)?;
        if rope.dim != shape.attention.dim {
            return Err(Failure::argument(format!(
                "dense layer: heads of {dim} with rotations for heads of {}",
                rope.dim
            )));
        }
        let mut held = Held { shape, rope, place: place as usize, matrices, vectors: Default::default() };
        // Both norms have to be set; until then they are of ones, so that all else can be checked.
        let columns = read(&held.matrices[0]).columns();
        held.vectors[0] = vec![1.0; columns];
        held.vectors[5] = vec![1.0; columns];
        held.with(|layer| Ok(layer.check()?))?;
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, LAYERS.insert(RwLock::new(held))) }
    })
}

/// Sets a vector of a layer, padded as the matrix beside it is: 0 gains of the norm before attention, 1 biases of queries, keys and values, 2 gains of
/// query and of key heads, 3 biases of attention's output, 4 gains of what attention yields, 5 gains of the norm before the feed-forward network, 6 gains of what that
/// yields.
///
/// # Safety
/// `values` must be readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_layer_set(handle: u64, which: u32, values: *const f32, values_len: u32) -> i32 {
    guard(|| {
        let layer = LAYERS.get(handle)?;
        // SAFETY: by this function's own contract.
        let values = unsafe { args::input("values", values, values_len as usize) }?;
        let mut held = write(&layer);
        let Some(vector) = held.vectors.get_mut(which as usize) else {
            return Err(Failure::argument(format!("dense layer: vector {which}, expected 0 to {}", VECTORS - 1)));
        };
        let before = std::mem::replace(vector, values.to_vec());
        let fits = held.with(|layer| Ok(layer.check()?));
        if fits.is_err() {
            held.vectors[which as usize] = before;
        }
        fits
    })
}

/// Queries of the rows `x` (`[row][columns]`), `[row][head][dim]`; their keys and values go to the cache. `spans` say
/// of 7 words each what the rows are: first row, rows, position that is rotated, position among the pages, first of its pages in `pages`, how many, 1 for a row that
/// decodes. The calling thread works, too.
///
/// # Safety
/// All but `queries` must be readable, that writable, for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_layer_project(
    handle: u64,
    cache: u64,
    spans: *const u32,
    spans_len: u32,
    pages: *const u32,
    pages_len: u32,
    x: *const f32,
    x_len: u32,
    queries: *mut f32,
    queries_len: u32,
) -> i32 {
    guard(|| {
        let (layer, cache) = (LAYERS.get(handle)?, CACHES.get(cache)?);
        // SAFETY: by this function's own contract.
        let (spans, pages, x, queries) = unsafe {
            (
                args::input("spans", spans, spans_len as usize)?,
                args::input("pages", pages, pages_len as usize)?,
                args::input("x", x, x_len as usize)?,
                args::output("queries", queries, queries_len as usize)?,
            )
        };
        read(&layer).project(&mut write(&cache), &rows_of(spans, pages)?, x, queries)
    })
}

/// Attention of the rows: `attended` is `[row][stride]`, `log_masses` the binary logarithm of the mass of each head of each row that decodes. What a row gets does
/// not depend on the others. The calling thread works, too.
///
/// # Safety
/// All but `attended` and `log_masses` must be readable, those writable, for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_layer_attend(
    handle: u64,
    cache: u64,
    spans: *const u32,
    spans_len: u32,
    pages: *const u32,
    pages_len: u32,
    queries: *const f32,
    queries_len: u32,
    attended: *mut f32,
    attended_len: u32,
    log_masses: *mut f32,
    log_masses_len: u32,
) -> i32 {
    guard(|| {
        let (layer, cache) = (LAYERS.get(handle)?, CACHES.get(cache)?);
        // SAFETY: by this function's own contract.
        let (spans, pages, queries, attended, log_masses) = unsafe {
            (
                args::input("spans", spans, spans_len as usize)?,
                args::input("pages", pages, pages_len as usize)?,
                args::input("queries", queries, queries_len as usize)?,
                args::output("attended", attended, attended_len as usize)?,
                args::output("log_masses", log_masses, log_masses_len as usize)?,
            )
        };
        read(&layer).attend(&read(&cache), &rows_of(spans, pages)?, queries, attended, log_masses)
    })
}

/// Adds what attention yields (`attended` is `[row][stride]`) and then what the feed-forward network does to the rows `x`. The calling thread works, too.
///
/// # Safety
/// `attended` must be readable and `x` writable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_layer_complete(
    handle: u64,
    attended: *const f32,
    attended_len: u32,
    x: *mut f32,
    x_len: u32,
) -> i32 {
    guard(|| {
        let layer = LAYERS.get(handle)?;
        // SAFETY: by this function's own contract.
        let (attended, x) = unsafe {
            (args::input("attended", attended, attended_len as usize)?, args::output("x", x, x_len as usize)?)
        };
        read(&layer).complete(attended, x)
    })
}

/// Computes layers one after the other: of each what `sparrow_layer_project`, `sparrow_layer_attend` and `sparrow_layer_complete` do. `queries`, `attended` and
/// `log_masses` are those of the last one.
///
/// # Safety
/// `layers`, `spans` and `pages` must be readable, the others writable, for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_layers_run(
    layers: *const u64,
    layers_len: u32,
    cache: u64,
    spans: *const u32,
    spans_len: u32,
    pages: *const u32,
    pages_len: u32,
    x: *mut f32,
    x_len: u32,
    queries: *mut f32,
    queries_len: u32,
    attended: *mut f32,
    attended_len: u32,
    log_masses: *mut f32,
    log_masses_len: u32,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (layers, spans, pages) = unsafe {
            (
                args::input("layers", layers, layers_len as usize)?,
                args::input("spans", spans, spans_len as usize)?,
                args::input("pages", pages, pages_len as usize)?,
            )
        };
        // SAFETY: as above.
        let (x, queries, attended, log_masses) = unsafe {
            (
                args::output("x", x, x_len as usize)?,
                args::output("queries", queries, queries_len as usize)?,
                args::output("attended", attended, attended_len as usize)?,
                args::output("log_masses", log_masses, log_masses_len as usize)?,
            )
        };
        let (cache, rows) = (CACHES.get(cache)?, rows_of(spans, pages)?);
        let mut cache = write(&cache);
        let layers = layers.iter().map(|layer| LAYERS.get(*layer)).collect::<Result<Vec<_>, _>>()?;
        // All in one: threads that wait for work between layers would go to sleep where the caller does other things there.
        let cache: &mut KvPages = &mut cache;
        with_threads(|| {
            for layer in &layers {
                let layer = read(layer);
                layer.project(cache, &rows, x, queries)?;
                layer.attend(cache, &rows, queries, attended, log_masses)?;
                layer.complete(attended, x)?;
            }
            Ok(())
        })
    })
}

/// Frees a layer, and its matrices if they were disposed of.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_layer_dispose(handle: u64) -> i32 {
    guard(|| LAYERS.remove(handle))
}
