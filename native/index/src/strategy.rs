use crate::quantiser::Quantiser;

/// How a head's keys are searched, and how hard. Chosen per head from recall and cost on held-out queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy {
    /// Best-first search of the graph with a pool of this size.
    Graph {
        /// Keys kept while searching.
        pool: u32,
    },
    /// The best clusters by mean score and spread, this many.
    Clusters {
        /// Clusters looked at.
        probes: u32,
    },
    /// All keys as bytes, the best this many scored again in half precision.
    Flat {
        /// Keys scored again.
        rerank: u32,
    },
}

impl Strategy {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Graph { .. } => "graph",
            Self::Clusters { .. } => "clusters",
            Self::Flat { .. } => "flat",
        }
    }

    /// The number in the variant.
    pub fn effort(self) -> usize {
        match self {
            Self::Graph { pool: effort } | Self::Clusters { probes: effort } | Self::Flat { rerank: effort } => {
                effort as usize
            }
        }
    }

    /// The same strategy with another effort.
    pub fn with_effort(self, effort: usize) -> Self {
        let effort = effort as u32;
        match self {
            Self::Graph { .. } => Self::Graph { pool: effort },
            Self::Clusters { .. } => Self::Clusters { probes: effort },
            Self::Flat { .. } => Self::Flat { rerank: effort },
        }
    }

    /// Nanoseconds for each key that a search of this kind looks at, for choosing between them, when `threads` search at the same time: what a
    /// thread takes that has the memory to itself, or its bytes at its share of what memory delivers, whichever is more.
    ///
    /// Alone, keys of 64 and of 128 elements from DRAM, AVX-512 (Zen 5): 16 to 35 in the graph, more where a pool is large for the keys it meets;
    /// 3.3 and 7 along clusters; 1.2 to 2.5 and 3.8 along all keys. Of 128K keys of 128 elements the graph reads 1.3 to 1.5 times the bytes of the
    /// keys it meets (lists, entry points, candidates in half precision). 16 threads of a server read 65 to 80 GB/s together: there clusters took
    /// 2.5 ms for the 32 queries of a layer, 29 ns a key and thread.
    pub fn cost_per_key(self, dim: usize, threads: usize) -> f64 {
        const GB_PER_SECOND: f64 = 70.0;
        let width = dim as f64 / 64.0;
        let (alone, rows) = match self {
            Self::Graph { .. } => (25.0, 1.5),
            Self::Clusters { .. } => (4.0 * width, 1.0),
            Self::Flat { .. } => (2.5 * width, 1.0),
        };
        let bytes = rows * Quantiser::row_len(dim) as f64;
        f64::max(alone, bytes * threads as f64 / GB_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_choose_as_times_did() {
        let cost = |strategy: Strategy, keys: f64, dim, threads| keys * strategy.cost_per_key(dim, threads);
        let (graph, clusters) = (Strategy::Graph { pool: 0 }, Strategy::Clusters { probes: 0 });
        // Keys looked at for 100 of 128K keys by either, elements, microseconds alone.
        for (walked, scanned, dim, times) in
            [(3522.0, 13.3e3, 128, [65, 106]), (2321.0, 36.9e3, 128, [80, 237]), (2908.0, 11.4e3, 64, [47, 38])]
        {
            let walks = cost(graph, walked, dim, 1) < cost(clusters, scanned, dim, 1);
            assert_eq!(walks, times[0] < times[1], "{walked} keys of {dim} by the graph, {scanned} by clusters");
            assert!(cost(graph, walked, dim, 16) < cost(clusters, scanned, dim, 16));
        }
    }
}
