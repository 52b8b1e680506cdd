//! Threads for work of a millisecond that somebody waits for.

mod apart;

use std::cell::OnceCell;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use apart::Apart;

struct Crew {
    pool: ThreadPool,
    apart: Arc<Apart>,
}

impl Crew {
    fn new() -> Option<Self> {
        let apart = Arc::new(Apart::default());
        let second = apart.clone();
        let pool = ThreadPoolBuilder::new()
            .use_current_thread()
            .thread_name(|i| format!("attend {i}"))
            .start_handler(move |number| {
                if number == 1 {
                    second.joined();
                }
            })
            .build()
            .ok()?;
        Some(Self { pool, apart })
    }
}

thread_local! {
    static CREW: OnceCell<Option<Crew>> = const { OnceCell::new() };
}

/// Runs `task` with threads of the calling thread's own: what fills rayon's common pool must not delay it. The caller is one of
/// them, so that it need not wait for a thread to wake. On two processors the other thread is kept off the caller's.
pub fn with_threads<T: Send>(task: impl FnOnce() -> T + Send) -> T {
    CREW.with(|crew| match crew.get_or_init(Crew::new) {
        Some(crew) => {
            if crew.pool.current_num_threads() == 2 {
                crew.apart.keep();
            }
            crew.pool.install(task)
        }
        // Without threads of its own the task is slower, not wrong.
        None => task(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn the_caller_works_too_and_work_inside_work_comes_to_an_end() {
        let own = std::thread::current().id();
        let sum = |n: u64| (0..n).into_par_iter().map(|i| (0..i).into_par_iter().sum::<u64>()).sum::<u64>();
        let (found, here) = with_threads(|| (sum(400), std::thread::current().id() == own));
        assert_eq!(found, (0..400).map(|i| i * (i - i.min(1)) / 2).sum::<u64>());
        assert!(here);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_two_processors_the_other_thread_has_one() {
        let allowed = || {
            // SAFETY: a set is bits, and the call writes no more than its size.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
                libc::CPU_COUNT(&set)
            }
        };
        let all = allowed();
        // The first waits until every thread has started.
        let mut counts = Vec::new();
        for _ in 0..2 {
            counts = with_threads(|| rayon::broadcast(|_| allowed()));
        }
        let other = if all == 2 { 1 } else { all };
        assert!(counts[0] == all && counts[1..].iter().all(|count| *count == other), "{counts:?} of {all}");
    }
}
