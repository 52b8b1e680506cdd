//! The scores that are still to be made of a query's clusters.

use crate::partition::Partition;

/// Clusters of one query that are not scored yet, ascending, and where their scores go.
pub(super) struct Wanted<'a> {
    pub clusters: &'a [(f32, u32)],
    pub scores: &'a mut [f32],
}

impl<'a> Wanted<'a> {
    /// The first cluster; none has the number given when there is none.
    pub fn next(&self) -> u32 {
        self.clusters.first().map_or(u32::MAX, |entry| entry.1)
    }

    /// Takes the first cluster, of so many keys, and the place of its scores.
    pub fn take(&mut self, keys: usize) -> &'a mut [f32] {
        self.clusters = &self.clusters[1..];
        self.scores.split_off_mut(..keys).expect("a score for every key of every cluster")
    }

    /// Takes the clusters up to number `last`.
    pub fn up_to(&mut self, last: u32, partition: &Partition) -> Wanted<'a> {
        let (clusters, others) = self.clusters.split_at(self.clusters.partition_point(|entry| entry.1 <= last));
        let keys = clusters.iter().map(|entry| partition.range(entry.1 as usize).len()).sum();
        self.clusters = others;
        Wanted { clusters, scores: self.scores.split_off_mut(..keys).expect("a score for every key of every cluster") }
    }
}
