//! A small seeded generator: builds must be the same for a seed, whatever the machine.

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Rng(u64);

impl Rng {
    /// A generator that is the same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A uniform 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; the bias of the remainder is below n / 2^64.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() % n as u64) as usize
    }

    /// A standard normal deviate (Box-Muller).
    pub fn normal(&mut self) -> f32 {
        let mut uniform = || (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * uniform()).cos()) as f32
    }

    /// `take` different numbers below `n`, ascending; all of them when `take` is more.
    pub fn sample(&mut self, n: usize, take: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..n as u32).collect();
        let take = take.min(n);
        for i in 0..take {
            let j = i + self.below(n - i);
            all.swap(i, j);
        }
        all.truncate(take);
        all.sort_unstable();
        all
    }
}
