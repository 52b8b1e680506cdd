//! Keys and values of a model's layers in pages of 64 tokens.

use half::f16;
use half::slice::HalfBitsSliceExt;
use sparrow_kernels::Buffer;

use crate::error::DenseError;

/// Tokens of a page.
pub const PAGE: usize = 64;
/// Keys that lie side by side, dimension by dimension: `sparrow_kernels::pack_blocks`.
pub(crate) const LANES: usize = 16;
/// The largest number of a half: an infinity would stay in the page, and attention multiplies the stale slots of a recycled page by 0.
const MOST: f32 = 65504.0;

/// Sizes of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers of the model.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of a head, padding included: a multiple of 64.
    pub dim: usize,
    /// Pages of each layer.
    pub pages: usize,
}

impl KvShape {
    /// Elements of a page's keys, or of its values.
    pub fn page_elements(&self) -> usize {
        self.kv_heads * PAGE * self.dim
    }
}

/// Keys and values in half precision. Memory is taken page by page as it is written.
pub struct KvPages {
    shape: KvShape,
    /// Of each layer `[page][KV head][block of 16 slots][dim][16]`.
    keys: Vec<Buffer<u16>>,
    /// Of each layer `[page][KV head][slot][dim]`.
    values: Vec<Buffer<u16>>,
}

impl KvPages {
    /// A cache of zeros.
    ///
    /// # Errors
    /// For sizes of 0, a dimension that is no multiple of 64, or more than there is memory for.
    pub fn new(shape: KvShape) -> Result<Self, DenseError> {
        let KvShape { layers, kv_heads, dim, pages } = shape;
        let elements = kv_heads.checked_mul(PAGE * dim).and_then(|page| page.checked_mul(pages));
        let fits = |elements: &usize| *elements > 0 && layers > 0 && dim.is_multiple_of(64);
        let Some(elements) = elements.filter(fits) else {
            return Err(DenseError(format!("a cache of {shape:?}, expected sizes above 0 and a multiple of 64")));
        };
        let make = || {
            let none = || DenseError(format!("no memory for {} bytes of keys or values", 2 * elements));
            (0..layers).map(|_| Buffer::zeroed(elements).ok_or_else(none)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { shape, keys: make()?, values: make()? })
    }

    /// Its sizes.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> usize {
        4 * self.shape.layers * self.shape.pages * self.shape.page_elements()
    }

    /// Copies a page, all layers.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn copy(&mut self, from: usize, to: usize) -> Result<(), DenseError> {
        self.check(0, &[from as u32, to as u32])?;
        let size = self.shape.page_elements();
        for layer in self.keys.iter_mut().chain(&mut self.values) {
            layer.as_mut_slice().copy_within(from * size..(from + 1) * size, to * size);
        }
        Ok(())
    }

    /// Pages of a layer: keys and values, both `[page][KV head][64][dim]`.
    ///
    /// # Errors
    /// When there is no such layer or page, or the lengths do not fit.
    pub fn read(&self, layer: usize, pages: &[u32], [keys, values]: [&mut [u16]; 2]) -> Result<(), DenseError> {
        self.check_lengths(layer, pages, [keys.len(), values.len()])?;
        let (size, dim) = (self.shape.page_elements(), self.shape.dim);
        let each = keys.chunks_exact_mut(size).zip(values.chunks_exact_mut(size));
        for (page, (keys, values)) in pages.iter().zip(each) {
            let at = *page as usize * size;
            let blocks = &self.keys[layer][at..at + size];
            for (i, key) in keys.chunks_exact_mut(dim).enumerate() {
                let block = &blocks[i / LANES * LANES * dim..][..LANES * dim];
                for (j, x) in key.iter_mut().enumerate() {
                    *x = block[j * LANES + i % LANES];
                }
            }
            values.copy_from_slice(&self.values[layer][at..at + size]);
        }
        Ok(())
    }

    /// Sets pages of a layer to what [`KvPages::read`] gives.
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, layer: usize, pages: &[u32], [keys, values]: [&[u16]; 2]) -> Result<(), DenseError> {
        self.check_lengths(layer, pages, [keys.len(), values.len()])?;
        let (size, dim) = (self.shape.page_elements(), self.shape.dim);
        let each = keys.chunks_exact(size).zip(values.chunks_exact(size));
        for (page, (keys, values)) in pages.iter().zip(each) {
            let at = *page as usize * size;
            let blocks = &mut self.keys[layer].as_mut_slice()[at..at + size];
            for (i, key) in keys.chunks_exact(dim).enumerate() {
                let block = &mut blocks[i / LANES * LANES * dim..][..LANES * dim];
                for (j, x) in key.iter().enumerate() {
                    block[j * LANES + i % LANES] = *x;
                }
            }
            self.values[layer].as_mut_slice()[at..at + size].copy_from_slice(values);
        }
        Ok(())
    }

    /// Stores what one token has of a layer, `[KV head][dim]` each.
    pub(crate) fn store(&mut self, layer: usize, page: usize, slot: usize, [keys, values]: [&[f32]; 2]) {
        let (size, dim) = (self.shape.page_elements(), self.shape.dim);
        let half = |x: f32| f16::from_f32(x.clamp(-MOST, MOST)).to_bits();
        for (head, (key, value)) in keys.chunks_exact(dim).zip(values.chunks_exact(dim)).enumerate() {
            let at = page * size + head * PAGE * dim;
            let block = &mut self.keys[layer].as_mut_slice()[at + slot / LANES * LANES * dim..][..LANES * dim];
            for (lanes, x) in block.chunks_exact_mut(LANES).zip(key) {
                lanes[slot % LANES] = half(*x);
            }
            for (stored, x) in self.values[layer].as_mut_slice()[at + slot * dim..][..dim].iter_mut().zip(value) {
                *stored = half(*x);
            }
        }
    }

    /// Keys of a head in a page, in blocks, and its values, in rows.
    pub(crate) fn head(&self, layer: usize, page: usize, head: usize) -> [&[f16]; 2] {
        let size = PAGE * self.shape.dim;
        let at = (page * self.shape.kv_heads + head) * size;
        let some = at..at + size;
        [self.keys[layer][some.clone()].reinterpret_cast(), self.values[layer][some].reinterpret_cast()]
    }

    /// # Errors
    /// When there is no such layer or page.
    pub(crate) fn check(&self, layer: usize, pages: &[u32]) -> Result<(), DenseError> {
        if layer >= self.shape.layers {
            return Err(DenseError(format!("layer {layer} of a cache of {}", self.shape.layers)));
        }
        match pages.iter().find(|page| **page as usize >= self.shape.pages) {
            Some(page) => Err(DenseError(format!("page {page} of a cache of {}", self.shape.pages))),
            None => Ok(()),
        }
    }

    fn check_lengths(&self, layer: usize, pages: &[u32], lengths: [usize; 2]) -> Result<(), DenseError> {
        self.check(layer, pages)?;
        let expected = pages.len() * self.shape.page_elements();
        if lengths != [expected; 2] {
            return Err(DenseError(format!(
                "{} elements of keys and {} of values, expected {expected} of {} pages",
                lengths[0],
                lengths[1],
                pages.len()
            )));
        }
        Ok(())
    }
}
