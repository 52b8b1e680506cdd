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

    /// Nanoseconds for each key that a search of this kind looks at, for choosing between them: keys of 64 dimensions from
    /// DRAM, one thread, AVX-512 (36 with random access in the graph; 4 along a cluster; 1.2 to 2.5 along all keys with
    /// four queries or one to a pass).
    pub fn cost_per_key(self, queries: usize) -> f64 {
        match self {
            Self::Graph { .. } => 36.0,
            Self::Clusters { .. } => 4.0,
            Self::Flat { .. } => {
                if queries >= 4 {
                    1.2
                } else {
                    2.5
                }
            }
        }
    }
}
