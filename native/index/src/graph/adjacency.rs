use sparrow_kernels::{Buffer, prefetch};

/// Marks the end of a node's list.
const END: u32 = u32::MAX;

/// Out-edges of every node in one arena with a fixed stride; a shorter list ends at the first [`END`].
pub struct Adjacency {
    stride: usize,
    edges: Buffer<u32>,
}

impl Adjacency {
    /// A graph from its lists, none longer than `stride`.
    pub fn from_lists(lists: &[Vec<u32>], stride: usize) -> Self {
        let mut edges = vec![END; lists.len() * stride];
        for (row, list) in edges.chunks_exact_mut(stride).zip(lists) {
            row[..list.len()].copy_from_slice(list);
        }
        Self { stride, edges: Buffer::new(&edges) }
    }

    /// What [`Adjacency::edges`] returned; `None` when it is no graph: a length that is no multiple of the stride, an edge to a
    /// node that does not exist, or one behind the end of its list.
    pub fn from_edges(edges: Buffer<u32>, stride: usize) -> Option<Self> {
        if stride == 0 || !edges.len().is_multiple_of(stride) {
            return None;
        }
        let nodes = (edges.len() / stride) as u32;
        let good = |row: &[u32]| {
            let count = row.iter().position(|edge| *edge == END).unwrap_or(stride);
            row[..count].iter().all(|edge| *edge < nodes) && row[count..].iter().all(|edge| *edge == END)
        };
        edges.chunks_exact(stride).all(good).then_some(Self { stride, edges })
    }

    /// The arena.
    pub fn edges(&self) -> &Buffer<u32> {
        &self.edges
    }

    /// Longest list possible.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.edges.len() / self.stride
    }

    /// The out-edges of `node`.
    #[inline(always)]
    pub fn list(&self, node: u32) -> &[u32] {
        let row = &self.edges[node as usize * self.stride..][..self.stride];
        // Counted, not searched for: nothing is predicted wrong.
        &row[..row.iter().filter(|edge| **edge != END).count()]
    }

    /// Hints that the list of `node` is wanted soon.
    #[inline(always)]
    pub fn prefetch(&self, node: u32) {
        let start = node as usize * self.stride;
        prefetch(&self.edges, start);
        prefetch(&self.edges, start + 16);
    }

    /// Replaces the list of `node`.
    ///
    /// # Panics
    /// When it is longer than the stride.
    pub fn set(&mut self, node: u32, list: &[u32]) {
        let mut row = vec![END; self.stride];
        row[..list.len()].copy_from_slice(list);
        self.edges.overwrite(node as usize * self.stride, &row);
    }

    /// Appends a node with this list.
    pub fn push(&mut self, list: &[u32]) {
        let mut row = vec![END; self.stride];
        row[..list.len()].copy_from_slice(list);
        self.edges.extend_from_slice(&row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_that_end_once_are_a_graph() {
        let good = |edges: &[u32]| Adjacency::from_edges(Buffer::new(edges), 3).is_some();
        assert!(good(&[1, END, END, 0, 1, 0, END, END, END]));
        assert!(!good(&[1, END, 1, 0, 1, 0]), "an edge behind the end");
        assert!(!good(&[1, END, END, 0, 2, END]), "an edge to a third node of two");
        assert!(!good(&[1, END]), "half a list");
        let graph = Adjacency::from_edges(Buffer::new(&[1, END, END, 0, 1, 0, END, END, END]), 3).unwrap();
        assert_eq!([graph.list(0), graph.list(1), graph.list(2)], [&[1][..], &[0, 1, 0], &[]]);
    }
}
