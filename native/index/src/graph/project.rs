//! From queries to edges: keys that the same queries want become neighbours (RoarGraph, Chen et al. 2024, section 4.1;
//! RetrievalAttention, Liu et al. 2024, section 3.2).
//!
//! Differs from both: every key of a query's list is a pivot, not only the first (attention sinks would otherwise take all
//! pivots); a pivot's candidates are gathered over all queries before one pruning, the most often met first; and keys are
//! compared in the query geometry. Measured on a made 128K head at recall 0.95: published, never; with query-dependent
//! entries 9.8 % of keys scanned; query geometry 4.3; every key a pivot 3.1; slack 1.2, 2.6.

use rayon::prelude::*;

use super::prune::Space;
use crate::partition::members;

/// Candidates of a pivot considered, as a multiple of the degree.
const CANDIDATES: usize = 8;
/// Companions of a pivot counted at most, so that a sink which every query lists costs no more than a thousand lists do.
const COMPANIONS: usize = 4096;

/// Own lists, then reverse edges. `lists` are the exact best keys of the training queries, `width` each.
pub fn project(
    space: Space<'_>,
    nodes: usize,
    lists: &[u32],
    width: usize,
    degree: usize,
    slack: f32,
) -> Vec<Vec<u32>> {
    let (starts, places) = members(lists, nodes);
    let own: Vec<Vec<u32>> = (0..nodes)
        .into_par_iter()
        .map(|node| {
            let listed = &places[starts[node] as usize..starts[node + 1] as usize];
            let mut companions: Vec<u32> = Vec::new();
            for place in listed {
                let query = *place as usize / width;
                companions.extend(&lists[query * width..][..width]);
                if companions.len() >= COMPANIONS {
                    break;
                }
            }
            let mut frequent = most_frequent(companions, degree * CANDIDATES);
            space.prune(&space.sorted_by_distance(node as u32, &mut frequent), degree, slack, true)
        })
        .collect();
    with_reverse(space, &own, degree, slack)
}

/// The ids that occur most often, ties to the lower.
fn most_frequent(mut ids: Vec<u32>, take: usize) -> Vec<u32> {
    ids.sort_unstable();
    let mut counted: Vec<(u32, u32)> = ids.chunk_by(|a, b| a == b).map(|same| (same.len() as u32, same[0])).collect();
    counted.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    counted.into_iter().take(take).map(|entry| entry.1).collect()
}

/// Every list with the edges that lead back, pruned to `bound`.
pub fn with_reverse(space: Space<'_>, own: &[Vec<u32>], bound: usize, slack: f32) -> Vec<Vec<u32>> {
    let incoming = incoming(own, own.len());
    own.par_iter()
        .enumerate()
        .map(|(node, own)| join(space, node as u32, own, incoming.of(node), bound, slack))
        .collect()
}

/// `own` and `more` together when they fit `bound`; otherwise pruned.
pub fn join(space: Space<'_>, node: u32, own: &[u32], more: &[u32], bound: usize, slack: f32) -> Vec<u32> {
    let mut all = own.to_vec();
    all.extend(more.iter().filter(|id| **id != node && !own.contains(id)));
    if all.len() <= bound {
        return all;
    }
    space.prune(&space.sorted_by_distance(node, &mut all), bound, slack, true)
}

/// Who points at whom.
pub struct Incoming {
    starts: Vec<u32>,
    from: Vec<u32>,
}

impl Incoming {
    /// The nodes with an edge to `node`, ascending.
    pub fn of(&self, node: usize) -> &[u32] {
        &self.from[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}

/// Inverts lists of edges between `nodes` nodes.
pub fn incoming(lists: &[Vec<u32>], nodes: usize) -> Incoming {
    let mut starts = vec![0u32; nodes + 1];
    lists.iter().flatten().for_each(|to| starts[*to as usize + 1] += 1);
    for node in 0..nodes {
        starts[node + 1] += starts[node];
    }
    let mut next = starts.clone();
    let mut from = vec![0u32; starts[nodes] as usize];
    for (node, list) in lists.iter().enumerate() {
        for to in list {
            from[next[*to as usize] as usize] = node as u32;
            next[*to as usize] += 1;
        }
    }
    Incoming { starts, from }
}
