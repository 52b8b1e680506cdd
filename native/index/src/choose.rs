//! Which strategy reaches the wanted recall at the least cost, measured on held-out queries.

use rayon::prelude::*;

use crate::attention_index::{AttentionIndex, BuildOptions};
use crate::neighbours::exact_neighbours;
use crate::rows::Rows;
use crate::strategy::Strategy;
use crate::vector_index::VectorIndex;

/// A search of the graph for `k` keys looks at no fewer than this times `k` (3.9 on the easiest of four real heads of 32K keys).
const LEAST_WALK: usize = 4;

/// What a strategy achieved on the held-out queries.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Strategy and effort.
    pub strategy: Strategy,
    /// Keys wanted.
    pub k: usize,
    /// Share of the `k` best keys found.
    pub recall: f32,
    /// Share of all keys looked at.
    pub scanned: f32,
}

impl AttentionIndex {
    /// Measures what each strategy needs for the wanted recall and keeps the cheapest. `build_graph` is called where a graph
    /// was asked for by name, or is allowed and could be the cheapest: it takes four fifths of the time of a build.
    pub(crate) fn choose(
        &mut self,
        held: Rows<'_>,
        ordered: Rows<'_>,
        options: &BuildOptions,
        build_graph: impl FnOnce(&mut Self),
    ) {
        let k = options.k.min(self.len());
        self.wanted = k;
        let truth = exact_neighbours(ordered, held, k);
        let allowed = |name: &str| options.strategies.is_empty() || options.strategies.contains(&name);
        let mut kinds = vec![Strategy::Flat { rerank: 0 }, Strategy::Clusters { probes: 0 }];
        kinds.retain(|kind| allowed(kind.name()));
        let measure = |index: &Self, kind| index.sweep(kind, held, &truth, k, options.recall);
        let mut measured: Vec<Vec<Measured>> = kinds.iter().map(|kind| measure(self, *kind)).collect();
        let dim = self.dim;
        let per_key = |strategy: Strategy| strategy.cost_per_key(dim, options.threads);
        let cost = |m: &Measured| f64::from(m.scanned) * per_key(m.strategy);
        let cheapest = |measured: &[Vec<Measured>]| {
            let last = measured.iter().filter_map(|sweep| sweep.last()).filter(|last| last.recall >= options.recall);
            last.min_by(|a, b| cost(a).total_cmp(&cost(b))).cloned()
        };
        if allowed("graph") {
            let graph = Strategy::Graph { pool: 0 };
            let least = (LEAST_WALK * k) as f64 / self.len() as f64 * per_key(graph);
            let asked = options.strategies.contains(&"graph");
            if asked || cheapest(&measured).is_none_or(|other| cost(&other) > least) {
                build_graph(self);
                measured.push(measure(self, graph));
            }
        }
        let fallback = || {
            let last = measured.iter().filter_map(|sweep| sweep.last());
            last.max_by(|a, b| a.recall.total_cmp(&b.recall)).cloned()
        };
        let chosen = cheapest(&measured).or_else(fallback);
        self.set_strategy(chosen.map_or(Strategy::Flat { rerank: 2 * k as u32 }, |m| m.strategy));
        self.measured = measured.into_iter().flatten().collect();
        if !options.keep_all {
            self.keep_only(self.strategy, &[]);
        }
    }

    /// The cheapest measured strategy that needs no graph.
    pub(crate) fn by_blocks(&self) -> Strategy {
        let cost = |m: &Measured| f64::from(m.scanned) * m.strategy.cost_per_key(self.dim, 1);
        // The last of a kind is the one that reached the recall.
        let last = |name: &str| self.measured.iter().rfind(|m| m.strategy.name() == name);
        let found = [last("clusters"), last("flat")].into_iter().flatten().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        found.map_or(Strategy::Flat { rerank: 120 }, |m| m.strategy)
    }

    /// The chosen search with the effort that `k` keys take: a pool grows with what is wanted beyond what it was measured for, and clusters are
    /// then at least as many.
    pub fn strategy_for(&self, k: usize) -> Strategy {
        let effort = self.strategy.effort();
        let measured = self.wanted;
        if k <= measured {
            return self.strategy;
        }
        let grown = match self.strategy {
            Strategy::Graph { .. } | Strategy::Flat { .. } => (effort * k).div_ceil(measured),
            Strategy::Clusters { .. } => effort.max(k),
        };
        self.strategy.with_effort(grown.min(self.len()))
    }

    /// Raises the effort until the recall is reached.
    fn sweep(&self, kind: Strategy, held: Rows<'_>, truth: &[u32], k: usize, wanted: f32) -> Vec<Measured> {
        let mut found = Vec::new();
        for effort in self.efforts_of(kind, k) {
            let strategy = kind.with_effort(effort);
            let each: Vec<(usize, usize)> = held
                .data
                .par_chunks_exact(self.dim)
                .zip(truth.par_chunks_exact(k))
                .map(|(query, truth)| {
                    let mut places = Vec::new();
                    let scanned = self.search_places(query, k, strategy, true, &mut places);
                    (places.iter().filter(|hit| truth.contains(&hit.id)).count(), scanned)
                })
                .collect();
            let (hits, scanned) = each.iter().fold((0, 0), |sum, x| (sum.0 + x.0, sum.1 + x.1));
            let recall = hits as f32 / truth.len().max(1) as f32;
            found.push(Measured {
                strategy,
                k,
                recall,
                scanned: scanned as f32 / (self.len() * held.len()).max(1) as f32,
            });
            if recall >= wanted {
                break;
            }
        }
        found
    }

    /// Efforts worth trying for a kind of strategy.
    pub(crate) fn efforts_of(&self, kind: Strategy, k: usize) -> Vec<usize> {
        match kind {
            Strategy::Graph { .. } => {
                // A pool costs about as it is large: steps of a sixth.
                let tenths = [10, 11, 12, 13, 15, 18, 21, 24, 28, 32, 37, 43, 50, 58, 67, 78, 90, 105, 125, 160];
                tenths.iter().map(|x| (x * k).div_ceil(10)).collect()
            }
            Strategy::Clusters { .. } => {
                let clusters = self.partition.clusters();
                let shares = [
                    2, 4, 6, 8, 10, 12, 14, 17, 20, 24, 28, 34, 40, 50, 60, 75, 90, 110, 130, 160, 200, 300, 450, 700,
                    1000,
                ];
                let mut efforts: Vec<usize> = shares.iter().map(|s| (s * clusters / 1000).max(1)).collect();
                efforts.dedup();
                efforts
            }
            Strategy::Flat { .. } => [12, 15, 20, 40].iter().map(|x| (x * k).div_ceil(10)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn pools_grow_with_the_keys_wanted() {
        let (dim, mut rng) = (8, Rng::new(2));
        let data: Vec<f32> = (0..1500 * dim).map(|_| rng.normal()).collect();
        let keys = Rows { data: &data, dim };
        for name in ["graph", "flat", "clusters"] {
            let options = BuildOptions { k: 20, strategies: vec![name], ..BuildOptions::default() };
            let index = AttentionIndex::build(keys, keys, &options).unwrap();
            let effort = index.strategy.effort();
            for k in [1, 20] {
                assert_eq!(index.strategy_for(k), index.strategy);
            }
            let grown = if name == "clusters" { effort.max(60) } else { 3 * effort };
            assert_eq!(index.strategy_for(60).effort(), grown, "{name}");
            assert_eq!(index.strategy_for(1500).effort(), 1500, "no more than there are: {name}");
        }
    }
}
