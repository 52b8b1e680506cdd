//! The attention-aware graph: built from what queries want, searched by inner product.

mod adjacency;
mod beam;
mod connect;
mod entries;
mod project;
mod prune;

pub use adjacency::Adjacency;
pub use beam::{Beam, Scorer};
pub use connect::Near;
pub use entries::Entries;
pub use project::join;
pub use prune::Space;

use connect::{ConnectOptions, connect, repair};
use project::project;

use crate::rows::Rows;

/// Edges of a node from its queries; measured best of 12, 16 and 24 at 128K keys.
const DEGREE: usize = 16;
/// Longest list: 96 bytes.
pub const BOUND: usize = 24;
/// Pool of the searches that connect keys. (100 took half as long again to build a 128K head and gained 0.3 points of recall.)
const POOL: usize = 64;
/// Occlusion slack on squared distances.
const SLACK: f32 = 1.2;

/// A searchable graph.
pub struct Graph {
    /// Edges.
    pub adjacency: Adjacency,
    /// Where searches start.
    pub entries: Entries,
    /// Nodes that were unreachable before repair.
    pub repaired: usize,
}

impl Graph {
    /// Builds a graph over `keys`; `mapped` are the same in the query geometry, `lists` the exact best keys of the training
    /// `queries`, `width` each. The same input gives the same graph whatever the number of threads.
    pub fn build(keys: Rows<'_>, mapped: &[f32], queries: Rows<'_>, lists: &[u32], width: usize, seed: u64) -> Self {
        let space = Space { data: mapped, dim: keys.dim, kernels: sparrow_kernels::best() };
        let lists_of = project(space, keys.len(), lists, width, DEGREE, SLACK);
        let options = ConnectOptions { degree: DEGREE, bound: BOUND, pool: POOL, slack: SLACK };
        let connected = connect(space, lists_of, medoid(space), options);
        let mut adjacency = Adjacency::from_lists(&connected, BOUND);
        let entries = Entries::build(keys, queries, lists, width, seed);
        let repaired = repair(space, &mut adjacency, &entries.roots());
        Self { adjacency, entries, repaired }
    }

    /// Appends a node that lies at `point` of the query geometry: links it with what a search for it passes through, in
    /// both directions. `space` already holds the node as its last row.
    pub fn insert(&mut self, space: Space<'_>, beam: &mut Beam) {
        let node = self.adjacency.len() as u32;
        let roots = self.entries.roots();
        let starts = &roots[..roots.len().min(64)];
        beam.search(&self.adjacency, &mut Near::new(space, space.row(node)), starts, POOL);
        let mut passed = beam.expanded().to_vec();
        let list = space.prune(&space.sorted_by_distance(node, &mut passed), DEGREE, SLACK, true);
        self.adjacency.push(&list);
        for (rank, other) in list.iter().enumerate() {
            let mut joined = join(space, *other, self.adjacency.list(*other), &[node], BOUND, SLACK);
            // The nearest neighbour keeps its edge to the new node, or the node could be lost again.
            if rank == 0 && !joined.contains(&node) {
                joined.pop();
                joined.push(node);
            }
            self.adjacency.set(*other, &joined);
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.adjacency.edges().len() * 4 + self.entries.bytes()
    }
}

/// The node nearest to the mean.
fn medoid(space: Space<'_>) -> u32 {
    let rows = Rows { data: space.data, dim: space.dim };
    let mean = rows.mean();
    let distance = |i: usize| space.kernels.l2_f32(rows.row(i), &mean);
    (0..rows.len()).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(0) as u32
}
