use crate::top::Hit;

/// What every index of vectors can do: answer with the keys of largest inner product.
pub trait VectorIndex: Send + Sync {
    /// Number of keys.
    fn len(&self) -> usize;

    /// Whether there are no keys.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of a key.
    fn dim(&self) -> usize;

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// Efforts worth trying, rising: what [`VectorIndex::search`] takes, in the index's own unit (pool size, clusters
    /// probed). An exact index has one.
    fn efforts(&self, k: usize) -> Vec<usize>;

    /// The `k` best keys found with this effort, best first, into `hits`. Returns how many inner products that took, those
    /// with centroids and entry points included.
    fn search(&self, query: &[f32], k: usize, effort: usize, hits: &mut Vec<Hit>) -> usize;
}
