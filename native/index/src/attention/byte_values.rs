//! Values as bytes: half the memory that half precision reads, and a quarter of the products.

use sparrow_kernels::{Buffer, LANES, best, f16, pack_fours};

/// Values covered are a multiple of this.
pub(super) const WHOLE: usize = 1024;

/// The codes of the first values of a head, each element in steps of its own column.
pub(super) struct ByteValues {
    /// In fours.
    codes: Buffer<i8>,
    /// Step of each column.
    pub scales: Vec<f32>,
}

impl ByteValues {
    /// Of as many rows of `values` (`[keys, dim]`) as make up whole tiles; `None` when those are none, the dimension is no multiple of 16,
    /// which byte products want, or the processor has no such products.
    pub fn of(values: &[f16], dim: usize) -> Option<Self> {
        let count = values.len() / dim.max(1) / WHOLE * WHOLE;
        if count == 0 || !dim.is_multiple_of(LANES) || !best().byte_sums_pay() {
            return None;
        }
        let values = &values[..count * dim];
        let mut most = vec![0f32; dim];
        for row in values.chunks_exact(dim) {
            most.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(x.to_f32().abs()));
        }
        let scales: Vec<f32> = most.into_iter().map(|most| most.max(1e-20) / 127.0).collect();
        let factors: Vec<f32> = scales.iter().map(|scale| 1.0 / scale).collect();
        let round = |(x, factor): (&f16, &f32)| (x.to_f32() * factor).round() as i8;
        let codes: Vec<i8> = values.chunks_exact(dim).flat_map(|row| row.iter().zip(&factors).map(round)).collect();
        Some(Self { codes: Buffer::new(&pack_fours(&codes, dim)), scales })
    }

    /// Values covered.
    pub fn len(&self) -> usize {
        self.codes.len() / self.scales.len()
    }

    /// The codes of these values; both ends are multiples of 4.
    pub fn rows(&self, range: std::ops::Range<usize>) -> &[i8] {
        &self.codes[range.start * self.scales.len()..range.end * self.scales.len()]
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.codes.len() + 4 * self.scales.len()
    }
}
