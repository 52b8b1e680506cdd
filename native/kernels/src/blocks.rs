//! The layout of flat scans: keys in blocks of 16, dimension-major inside a block, so that a scan needs no horizontal sums.

/// Keys in a block: the f32 lanes of a 512-bit register.
pub const LANES: usize = 16;

/// Packs row-major `[rows, dim]` into blocks: element `j` of key `i` lands at `(i / 16 · dim + j) · 16 + i % 16`.
/// The last block is filled up with `padding`.
pub fn pack_blocks<T: Copy>(rows: &[T], dim: usize, padding: T) -> Vec<T> {
    let keys = rows.len() / dim;
    let mut blocks = vec![padding; keys.div_ceil(LANES) * LANES * dim];
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let block = &mut blocks[i / LANES * LANES * dim..];
        for (j, value) in row.iter().enumerate() {
            block[j * LANES + i % LANES] = *value;
        }
    }
    blocks
}

/// The first `keys` rows that [`pack_blocks`] packed.
pub fn unpack_blocks<T: Copy>(blocks: &[T], dim: usize, keys: usize) -> Vec<T> {
    let place = |i: usize, j: usize| (i / LANES * dim + j) * LANES + i % LANES;
    (0..keys * dim).map(|at| blocks[place(at / dim, at % dim)]).collect()
}

/// As [`pack_blocks`] for bytes, with four consecutive dimensions of a key side by side (what a byte dot product
/// instruction consumes): element `j` of key `i` lands at `i / 16 · 16 · dim + j / 4 · 64 + i % 16 · 4 + j % 4`.
///
/// # Panics
/// When `dim` is not a multiple of 4.
pub fn pack_byte_blocks(rows: &[u8], dim: usize, padding: u8) -> Vec<u8> {
    assert_eq!(dim % 4, 0, "byte blocks need a dimension that is a multiple of 4, got {dim}");
    let keys = rows.len() / dim;
    let mut blocks = vec![padding; keys.div_ceil(LANES) * LANES * dim];
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let block = &mut blocks[i / LANES * LANES * dim..];
        for (group, four) in row.chunks_exact(4).enumerate() {
            block[group * 64 + i % LANES * 4..][..4].copy_from_slice(four);
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_gives_back_what_was_packed() {
        let rows: Vec<u32> = (0..37 * 5).collect();
        let blocks = pack_blocks(&rows, 5, u32::MAX);
        assert_eq!(blocks.len(), 48 * 5);
        assert_eq!(unpack_blocks(&blocks, 5, 37), rows);
    }
}
