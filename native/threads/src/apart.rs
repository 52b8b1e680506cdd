//! Keeps a second thread off the processor of the first.
//!
//! A thread that was idle for more than a millisecond is woken by some kernels where its waker runs, not on the processor that idles beside
//! it, and is moved only after milliseconds: work for two threads then takes as long as with one. (Linux 6.18, a virtual machine of two
//! processors: two tasks of 1 ms after a pause of 2 ms took 2.06 ms, 1.05 kept apart; from four processors on idle ones are found.)

/// What is known of the second thread, and of where the first was last.
#[derive(Default)]
pub struct Apart {
    #[cfg(target_os = "linux")]
    second: std::sync::atomic::AtomicI32,
    /// A processor's number and one.
    #[cfg(target_os = "linux")]
    first: std::sync::atomic::AtomicI32,
}

#[cfg(not(target_os = "linux"))]
impl Apart {
    pub fn joined(&self) {}

    pub fn keep(&self) {}
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::atomic::Ordering::Relaxed;

    use libc::{CPU_COUNT, CPU_ISSET, CPU_SET, CPU_SETSIZE, cpu_set_t};

    use super::Apart;

    impl Apart {
        /// Called by the second thread as it starts.
        pub fn joined(&self) {
            // SAFETY: takes nothing.
            self.second.store(unsafe { libc::gettid() }, Relaxed);
        }

        /// Called by the first: lets the second run anywhere but here, if that leaves it one processor. Costs a system call only where the first has
        /// moved since.
        pub fn keep(&self) {
            // SAFETY: takes nothing.
            let here = unsafe { libc::sched_getcpu() };
            let second = self.second.load(Relaxed);
            if here < 0 || second == 0 || self.first.swap(here + 1, Relaxed) == here + 1 {
                return;
            }
            let size = size_of::<cpu_set_t>();
            // SAFETY: a set is bits, and the calls write and read no more than its size. A thread that has ended, or processors that were taken away,
            // make them fail, and the second thread stays where it may be.
            unsafe {
                let mut allowed: cpu_set_t = std::mem::zeroed();
                if libc::sched_getaffinity(0, size, &mut allowed) != 0 || CPU_COUNT(&allowed) != 2 {
                    return;
                }
                let mut others: cpu_set_t = std::mem::zeroed();
                for cpu in (0..CPU_SETSIZE as usize).filter(|cpu| CPU_ISSET(*cpu, &allowed) && *cpu != here as usize) {
                    CPU_SET(cpu, &mut others);
                }
                libc::sched_setaffinity(second, size, &others);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_second_thread_may_run_everywhere_but_where_the_first_is() {
            let apart = std::sync::Arc::new(Apart::default());
            let (start, started) = std::sync::mpsc::channel();
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let own = apart.clone();
            let thread = std::thread::spawn(move || {
                own.joined();
                start.send(()).unwrap();
                let _ = stopped.recv();
            });
            started.recv().unwrap();
            apart.keep();
            let here = apart.first.load(Relaxed) - 1;
            let size = size_of::<cpu_set_t>();
            // SAFETY: as above.
            let (own, second) = unsafe {
                let (mut own, mut second): (cpu_set_t, cpu_set_t) = (std::mem::zeroed(), std::mem::zeroed());
                assert_eq!(libc::sched_getaffinity(0, size, &mut own), 0);
                assert_eq!(libc::sched_getaffinity(apart.second.load(Relaxed), size, &mut second), 0);
                (CPU_COUNT(&own), (CPU_COUNT(&second), CPU_ISSET(here as usize, &second)))
            };
            // Of two processors one is left; of any other number all are.
            assert_eq!(second, if own == 2 { (1, false) } else { (own, true) });
            drop(stop);
            thread.join().unwrap();
        }
    }
}
