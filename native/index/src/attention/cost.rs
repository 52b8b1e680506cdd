//! Nanoseconds of the parts of a step for each query, for choosing a plan: one of two threads, AVX-512, keys and values from DRAM. What is
//! read once for all queries of a group costs each a share of it; 19 GB/s are a thread's.
//!
//! Fitted to these (Zen 5, two cores, ns a key and query; dimension, queries to a group): by bytes 2.0 to 2.4 (64, 4), 2.6 (64, 3), 3.8 (64, 2),
//! 4.7 (128, 4); exactly 5.2 to 5.9 (64, 4), 6.7 (64, 3); by clusters, of 128K keys, 104 µs with 2300 centroids, 6970 keys scored and 600 values
//! read (64, 4), 405 µs with 2240, 24K and 2000 (128, 4). In the caches of a machine all of it takes less, in much the same proportions.

/// What keys and values of one head cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// In units of 64 elements.
    width: f64,
    group: f64,
}

impl Cost {
    /// Of keys of `dim` elements, `group` queries to a head.
    pub fn new(dim: usize, group: usize) -> Self {
        Self { width: dim as f64 / 64.0, group: group.max(1) as f64 }
    }

    /// A key and its value among all of them.
    pub fn exact(self) -> f64 {
        self.width * (13.4 / self.group + 2.2)
    }

    /// The same by bytes.
    pub fn bytes(self) -> f64 {
        self.width * (6.7 / self.group + 0.5)
    }

    /// A cluster: its centroid and its mean value.
    pub fn cluster(self) -> f64 {
        self.width * (13.4 / self.group + 2.5)
    }

    /// A key of an open cluster, as bytes. Queries of a group open different ones.
    pub fn key(self) -> f64 {
        9.0 + 1.3 * self.width
    }

    /// A value at a random place, and its key's score again.
    pub fn value(self) -> f64 {
        10.0 + 20.0 * self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_that_were_measured() {
        let near = |found: f64, measured: f64| assert!((found / measured - 1.0).abs() < 0.15, "{found} for {measured}");
        for (dim, group, ns) in [(64, 4, 2.2), (64, 3, 2.6), (64, 2, 3.8), (128, 4, 4.7)] {
            near(Cost::new(dim, group).bytes(), ns);
        }
        for (group, ns) in [(4, 5.5), (3, 6.7)] {
            near(Cost::new(64, group).exact(), ns);
        }
        for (dim, [clusters, keys, values], ns) in
            [(64, [2300.0, 6970.0, 600.0], 104e3), (128, [2240.0, 24e3, 2000.0], 405e3)]
        {
            let cost = Cost::new(dim, 4);
            near(clusters * cost.cluster() + keys * cost.key() + values * cost.value(), ns);
        }
    }
}
