//! Keys as bytes, in the layouts that searches want.

use sparrow_kernels::{Buffer, LANES, best, pack_byte_blocks};

use crate::quantiser::Quantiser;

/// The codes of all keys. Blocks of 16 keys serve whoever reads runs of keys (all of them, or a cluster); rows serve whoever
/// reads single ones (the graph). Each is held only while something needs it.
#[derive(Default)]
pub(crate) struct ByteKeys {
    row_len: usize,
    len: usize,
    rows: Option<Buffer<u8>>,
    blocks: Option<Buffer<u8>>,
}

/// A code of 0 on every dimension: what the last block is filled up with.
const PADDING: u8 = 128;

impl ByteKeys {
    /// Codes of keys of `dim` elements, `[keys, row_len]`, in the layouts asked for.
    pub fn new(codes: &[u8], dim: usize, rows: bool, blocks: bool) -> Self {
        let row_len = Quantiser::row_len(dim);
        let mut keys = Self { row_len, len: codes.len() / row_len, rows: None, blocks: None };
        keys.rows = rows.then(|| Buffer::new(codes));
        keys.blocks = blocks.then(|| Buffer::new(&pack_byte_blocks(codes, row_len, PADDING)));
        keys
    }

    /// What was saved: one of the layouts. `None` when a length does not fit `len` keys.
    pub fn from_parts(dim: usize, len: usize, rows: Option<Buffer<u8>>, blocks: Option<Buffer<u8>>) -> Option<Self> {
        let row_len = Quantiser::row_len(dim);
        let good = rows.as_ref().is_none_or(|rows| rows.len() == len * row_len)
            && blocks.as_ref().is_none_or(|blocks| blocks.len() == len.next_multiple_of(LANES) * row_len)
            && (rows.is_some() || blocks.is_some());
        good.then_some(Self { row_len, len, rows, blocks })
    }

    /// The codes by row, where they are held.
    pub fn rows(&self) -> Option<&Buffer<u8>> {
        self.rows.as_ref()
    }

    /// The codes in blocks, where they are held.
    pub fn blocks(&self) -> Option<&Buffer<u8>> {
        self.blocks.as_ref()
    }

    /// Bytes from one row to the next.
    pub fn row_len(&self) -> usize {
        self.row_len
    }

    /// Drops the layouts that are not wanted, and makes blocks of rows where they are.
    ///
    /// # Panics
    /// When rows are wanted that are not there.
    pub fn keep(&mut self, rows: bool, blocks: bool) {
        assert!(!rows || self.rows.is_some(), "rows cannot be made of blocks");
        if blocks && self.blocks.is_none() {
            let rows = self.rows.as_ref().expect("one layout is always there");
            self.blocks = Some(Buffer::new(&pack_byte_blocks(rows, self.row_len, PADDING)));
        }
        if !blocks {
            self.blocks = None;
        }
        if !rows {
            self.rows = None;
        }
    }

    /// Appends the codes of more keys.
    pub fn push(&mut self, codes: &[u8]) {
        let from = self.len;
        self.len += codes.len() / self.row_len;
        if let Some(rows) = &mut self.rows {
            rows.extend_from_slice(codes);
        }
        if let Some(blocks) = &mut self.blocks {
            let wanted = self.len.next_multiple_of(LANES) * self.row_len;
            blocks.extend_from_slice(&vec![PADDING; wanted - blocks.len()]);
        }
        self.write_blocks(from, codes);
    }

    /// Overwrites the codes of the keys from `from`.
    pub fn overwrite(&mut self, from: usize, codes: &[u8]) {
        if let Some(rows) = &mut self.rows {
            rows.overwrite(from * self.row_len, codes);
        }
        self.write_blocks(from, codes);
    }

    fn write_blocks(&mut self, from: usize, codes: &[u8]) {
        let Some(blocks) = &mut self.blocks else { return };
        let (row_len, block_len) = (self.row_len, self.row_len * LANES);
        // Whole blocks are packed; a part of one is merged with what is there.
        let mut done = 0;
        while done * row_len < codes.len() {
            let place = from + done;
            let (number, lane) = (place / LANES, place % LANES);
            let count = (LANES - lane).min(codes.len() / row_len - done);
            let part = &codes[done * row_len..][..count * row_len];
            let mut block = blocks[number * block_len..][..block_len].to_vec();
            for (i, row) in part.chunks_exact(row_len).enumerate() {
                for (group, four) in row.chunks_exact(4).enumerate() {
                    block[group * 64 + (lane + i) * 4..][..4].copy_from_slice(four);
                }
            }
            blocks.overwrite(number * block_len, &block);
            done += count;
        }
    }

    /// Products of each of the `queries` (`[queries, row_len]`) with the keys of `range` come to the beginning of `out`, query by query. Whole blocks
    /// are read: those of up to 15 keys before the range come first, and of up to 15 after it last. Returns the number of the former, and that of all
    /// products of a query.
    ///
    /// # Panics
    /// When there are no blocks.
    #[inline]
    pub fn scan(&self, queries: &[i8], range: std::ops::Range<usize>, out: &mut Vec<i32>) -> [usize; 2] {
        let blocks = self.blocks.as_ref().expect("a scan needs blocks");
        let (first, end) = (range.start / LANES, range.end.div_ceil(LANES));
        let block_len = self.row_len * LANES;
        let width = (end - first) * LANES;
        let count = queries.len() / self.row_len * width;
        if out.len() < count {
            out.resize(count, 0);
        }
        best().scan_u8(queries, self.row_len, &blocks[first * block_len..end * block_len], &mut out[..count]);
        [range.start - first * LANES, width]
    }

    /// Hints that the keys of `range` are scanned soon.
    #[inline]
    pub fn prefetch(&self, range: std::ops::Range<usize>) {
        if let Some(blocks) = &self.blocks {
            let block_len = self.row_len * LANES;
            for at in (range.start / LANES * block_len..range.end.div_ceil(LANES) * block_len).step_by(64) {
                sparrow_kernels::prefetch(blocks, at);
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.len()) + self.blocks.as_ref().map_or(0, |blocks| blocks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Products with all keys by a plain loop.
    fn products(query: &[i8], codes: &[u8]) -> Vec<i32> {
        let product = |row: &[u8]| row.iter().zip(query).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        codes.chunks_exact(query.len()).map(product).collect()
    }

    #[test]
    fn blocks_follow_every_append_and_change() {
        let mut rng = Rng::new(8);
        for dim in [3, 32, 64, 100] {
            let row_len = Quantiser::row_len(dim);
            let mut code = |count: usize| -> Vec<u8> { (0..count * row_len).map(|_| rng.below(256) as u8).collect() };
            let queries: Vec<i8> = code(3).iter().map(|x| *x as i8).collect();
            let query = &queries[..row_len];
            let mut plain = code(21);
            let mut keys = ByteKeys::new(&plain, dim, true, true);
            for count in [1, 10, 16, 40, 3] {
                let more = code(count);
                keys.push(&more);
                plain.extend(more);
            }
            let changed = code(30);
            keys.overwrite(19, &changed);
            plain[19 * row_len..49 * row_len].copy_from_slice(&changed);
            assert_eq!(keys.rows().unwrap()[..], plain);
            let expected = products(query, &plain);
            for range in [0..91, 5..6, 15..17, 16..48, 33..91] {
                let mut out = vec![7];
                let [skip, width] = keys.scan(query, range.clone(), &mut out);
                assert_eq!(out[skip..][..range.len()], expected[range.clone()]);
                let mut all = vec![7; 1000];
                assert_eq!(keys.scan(&queries, range.clone(), &mut all), [skip, width]);
                assert_eq!(all[..width], out[..width]);
                let last = products(&queries[2 * row_len..], &plain);
                assert_eq!(all[2 * width + skip..][..range.len()], last[range]);
            }
        }
    }
}
