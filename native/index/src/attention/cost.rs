//! Nanoseconds of the parts of a step for each query, for choosing a plan: one of two threads, AVX-512, keys and values from DRAM. What is
//! read once for all queries of a group costs each a share of it.
//!
//! Fitted to these (Zen 5, two cores, ns a key and query; dimension, queries to a group): by bytes 1.45 (64, 4), 1.65 to 2.3 (64, 3), 2.2 to 2.6 (64, 2),
//! 2.2 (128, 4); exactly 2.3 (64, 4), 2.9 (64, 3), 4.0 (64, 2), 5.3 (128, 4); by clusters, of 128K keys, 51 µs with 2300 centroids, 7030 keys
//! scored and 610 values read, 120 with 15,850 and 2870 (64, 4), 110 with 2360, 9800 and 1460, 211 with 16,340 and 3680 (128, 4). In the caches of a
//! machine all of it takes less, in much the same proportions.

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
        self.width * (6.6 / self.group + 0.75)
    }

    /// The same where keys are packed in passing. (In cache 0.17 ns an element.)
    pub fn packing(self) -> f64 {
        self.exact() + 11.0 * self.width / self.group
    }

    /// The same by bytes.
    pub fn bytes(self) -> f64 {
        0.7 + 3.0 * self.width / self.group
    }

    /// A cluster: its centroid and its mean value.
    pub fn cluster(self) -> f64 {
        2.5 + self.width * (4.0 / self.group + 0.9)
    }

    /// A key of an open cluster, as bytes. Queries of a group open different ones.
    pub fn key(self) -> f64 {
        3.0 + self.width
    }

    /// A value at a random place, and its key's score again.
    pub fn value(self) -> f64 {
        4.0 + 13.0 * self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_that_were_measured() {
        let near = |found: f64, measured: f64| assert!((found / measured - 1.0).abs() < 0.15, "{found} for {measured}");
        for (dim, group, ns) in [(64, 4, 1.45), (64, 3, 1.8), (64, 2, 2.3), (128, 4, 2.2)] {
            near(Cost::new(dim, group).bytes(), ns);
        }
        for (dim, group, ns) in [(64, 4, 2.3), (64, 3, 2.9), (64, 2, 4.0), (128, 4, 5.3)] {
            near(Cost::new(dim, group).exact(), ns);
        }
        for (dim, [clusters, keys, values], ns) in [
            (64, [2300.0, 7030.0, 613.0], 51e3),
            (64, [2300.0, 15_850.0, 2874.0], 120e3),
            (128, [2360.0, 9800.0, 1458.0], 110e3),
            (128, [2360.0, 16_340.0, 3675.0], 211e3),
        ] {
            let cost = Cost::new(dim, 4);
            near(clusters * cost.cluster() + keys * cost.key() + values * cost.value(), ns);
        }
    }
}
