//! Thread pools by size, made once per process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::ThreadPool;

use crate::error::{Error, require};

/// Runs `work` on a pool of `threads` threads (1 to 256). Pools are kept: making one costs more than a frame.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    static POOLS: OnceLock<Mutex<HashMap<usize, Arc<ThreadPool>>>> = OnceLock::new();
    require((1..=256).contains(&threads), || format!("{threads} threads were asked for, expected 1 to 256"))?;
    let mut pools = POOLS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let pool = match pools.get(&threads) {
        Some(pool) => pool.clone(),
        None => {
            let builder =
                rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("sparrow-lut-{i}"));
            let pool = Arc::new(
                builder.build().map_err(|error| Error(format!("{threads} threads could not be started: {error}")))?,
            );
            pools.insert(threads, pool.clone());
            pool
        }
    };
    drop(pools);
    Ok(pool.install(work))
}
