//! Makes every key reachable: queries never asked for some keys, and those have no edges yet.

use rayon::prelude::*;

use super::adjacency::Adjacency;
use super::beam::{Beam, Scorer};
use super::project::{incoming, join};
use super::prune::Space;

/// Keys that search one frozen graph before their edges are applied: the result then depends on the batch alone, not on
/// which thread was faster. (Batches of 1/16 of 128K keys gave graphs as good as one key at a time.)
const BATCHES: usize = 16;

/// Scores nodes by closeness to a point of the query geometry.
pub struct Near<'a> {
    space: Space<'a>,
    point: &'a [f32],
}

impl<'a> Near<'a> {
    /// Closeness to `point`.
    pub fn new(space: Space<'a>, point: &'a [f32]) -> Self {
        Self { space, point }
    }
}

impl Scorer for Near<'_> {
    fn score(&mut self, nodes: &[u32], out: &mut [f32]) {
        self.space.kernels.gather_l2_f32(self.point, self.space.data, nodes, out);
        out.iter_mut().for_each(|out| *out = -*out);
    }

    fn prefetch(&self, node: u32) {
        let start = node as usize * self.space.dim;
        for offset in (0..self.space.dim).step_by(16) {
            sparrow_kernels::prefetch(self.space.data, start + offset);
        }
    }
}

/// What [`connect`] needs to know.
#[derive(Clone, Copy)]
pub struct ConnectOptions {
    /// New edges of a key.
    pub degree: usize,
    /// Longest list in the end.
    pub bound: usize,
    /// Pool of the searches.
    pub pool: usize,
    /// Occlusion slack.
    pub slack: f32,
}

/// Searches for every key from `entry` and links it with the keys the search passed through (RoarGraph section 4.2):
/// `lists` gain up to `degree` edges a key, and the edges back, within `bound`.
pub fn connect(space: Space<'_>, lists: Vec<Vec<u32>>, entry: u32, options: ConnectOptions) -> Vec<Vec<u32>> {
    let nodes = lists.len();
    let mut graph = Adjacency::from_lists(&lists, options.bound);
    let all: Vec<u32> = (0..nodes as u32).collect();
    // Interleaved, so that every batch covers the whole key space.
    for batch in 0..BATCHES {
        let batch: Vec<u32> = all.iter().copied().skip(batch).step_by(BATCHES).collect();
        let fresh: Vec<Vec<u32>> = batch
            .par_iter()
            .map_init(Beam::default, |beam, node| new_edges(space, &graph, beam, *node, entry, &lists, options))
            .collect();
        apply(space, &mut graph, &batch, &fresh, options);
    }
    // A key's own list came from queries: it stays whole, what the searches added follows.
    (0..nodes as u32)
        .into_par_iter()
        .map(|node| {
            let mut list = lists[node as usize].clone();
            let room = options.bound - list.len();
            let added: Vec<u32> = graph.list(node).iter().copied().filter(|id| !list.contains(id)).take(room).collect();
            list.extend(added);
            list
        })
        .collect()
}

fn new_edges(
    space: Space<'_>,
    graph: &Adjacency,
    beam: &mut Beam,
    node: u32,
    entry: u32,
    lists: &[Vec<u32>],
    options: ConnectOptions,
) -> Vec<u32> {
    beam.search(graph, &mut Near::new(space, space.row(node)), &[entry], options.pool);
    let known = &lists[node as usize];
    let mut passed: Vec<u32> = beam.expanded().iter().copied().filter(|id| !known.contains(id)).collect();
    space.prune(&space.sorted_by_distance(node, &mut passed), options.degree, options.slack, true)
}

/// Adds the batch's edges in both directions.
fn apply(space: Space<'_>, graph: &mut Adjacency, batch: &[u32], fresh: &[Vec<u32>], options: ConnectOptions) {
    let incoming = incoming(fresh, graph.len());
    let mut changed: Vec<(u32, Vec<u32>)> = batch
        .par_iter()
        .zip(fresh)
        .map(|(node, fresh)| {
            let mut list = fresh.clone();
            list.extend(graph.list(*node).iter().filter(|id| !fresh.contains(id)));
            list.truncate(options.bound);
            (*node, list)
        })
        .collect();
    for (node, list) in &changed {
        graph.set(*node, list);
    }
    changed = (0..graph.len() as u32)
        .into_par_iter()
        .filter(|node| !incoming.of(*node as usize).is_empty())
        .map(|node| {
            // `incoming` numbers the batch's members by their place in it.
            let back: Vec<u32> = incoming.of(node as usize).iter().map(|place| batch[*place as usize]).collect();
            (node, join(space, node, graph.list(node), &back, options.bound, options.slack))
        })
        .collect();
    for (node, list) in &changed {
        graph.set(*node, list);
    }
}

/// Gives every node that `roots` do not lead to an edge from the nearest node that they do. Returns how many there were.
pub fn repair(space: Space<'_>, graph: &mut Adjacency, roots: &[u32]) -> usize {
    let mut reached = vec![false; graph.len()];
    roots.iter().for_each(|root| flood(graph, *root, &mut reached));
    let mut beam = Beam::default();
    let mut lost = 0;
    for node in 0..graph.len() as u32 {
        if reached[node as usize] {
            continue;
        }
        lost += 1;
        beam.search(graph, &mut Near::new(space, space.row(node)), &roots[..roots.len().min(64)], 64);
        let near: Vec<u32> = beam.found().collect();
        // The nearest with room; when all are full, the nearest gives up its last edge.
        let from = near.iter().copied().find(|id| graph.list(*id).len() < graph.stride()).unwrap_or(near[0]);
        let mut list = graph.list(from).to_vec();
        list.truncate(graph.stride() - 1);
        list.push(node);
        graph.set(from, &list);
        flood(graph, node, &mut reached);
    }
    lost
}

fn flood(graph: &Adjacency, root: u32, reached: &mut [bool]) {
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        if !std::mem::replace(&mut reached[node as usize], true) {
            pending.extend(graph.list(node).iter().filter(|next| !reached[**next as usize]));
        }
    }
}
