//! Milliseconds a frame at 320x180 to 1280x720, by instruction set and threads, on random tables and weights.

use std::time::Instant;

use sparrow_lut::{Cascade, Experts, Fusion, Isa, Layer, Net, Pattern, Stage, StageShape, enlarge};

fn fastest(mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::MAX;
    while begin.elapsed().as_secs_f64() < 0.7 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    best
}

fn main() {
    let (w, h) = (320, 180);
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    // A smooth picture: real frames touch few table rows.
    let frame: Vec<u8> = (0..w * h)
        .map(|i| (128.0 + 60.0 * ((i % w) as f64 / 31.0).sin() * ((i / w) as f64 / 17.0).cos()) as u8 + next() % 8)
        .collect();
    let e = Pattern::new([0, 0, 0, 1, 0, 2, 1, 0]).unwrap();
    let s = Pattern::new([0, 0, 0, 1, 1, 0, 1, 1]).unwrap();
    let len = 6561 * 16;
    let values: Vec<i8> = (0..2 * 6 * len).map(|_| next() as i8 / 2).collect();
    let shape = StageShape { scale: 4, step: 1, shift: 5, rotations: 4, divisor: 256, bias: 0, centre: true };
    let one = Cascade::new(vec![Stage::new(shape, &[s, e], &values[..2 * len]).unwrap()]).unwrap();
    let cells: Vec<i8> = (0..4 * 83521).map(|_| next() as i8 / 2).collect();
    let refine = Stage::new(StageShape { scale: 1, shift: 4, ..shape }, &[s, e, s, e], &cells).unwrap();
    let two = Cascade::new(vec![refine, Stage::new(shape, &[s, e, s, e], &values[..4 * len]).unwrap()]).unwrap();
    let mut layer = |i: usize, o: usize, hidden| {
        Layer::new(
            i,
            o,
            &(0..9 * i * o).map(|_| next() as i8 / 8).collect::<Vec<_>>(),
            &vec![64; o],
            &vec![7; o],
            hidden,
        )
        .unwrap()
    };
    let gates = Net::new(vec![layer(8, 16, true), layer(16, 16, true), layer(16, 6, true)]).unwrap();
    // The embedded x4 net for clean input.
    let sizes = [4, 24, 12, 20, 24, 32, 32, 32, 16];
    let layers = sizes.windows(2).enumerate().map(|(i, pair)| layer(pair[0], pair[1], i < 7)).collect();
    let fusion =
        Fusion::new(Experts::new(4, 5, 8, &[s, e], 6, &values).unwrap(), gates, Net::new(layers).unwrap()).unwrap();
    let mut out = vec![0; w * h * 16];
    println!("residual branch: {} multiply-adds a pixel", fusion.cost());
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            pool.install(|| {
                let a = fastest(|| one.run(isa, &frame, w, h, &mut out).unwrap());
                let b = fastest(|| two.run(isa, &frame, w, h, &mut out).unwrap());
                let c = fastest(|| fusion.run(isa, &frame, &frame, w, h, false, &mut out).unwrap());
                let d = fastest(|| fusion.run(isa, &frame, &frame, w, h, true, &mut out).unwrap());
                let e = fastest(|| enlarge(&frame[..160 * 90], 160, 90, 4, [2, 2], &mut out[..640 * 360]).unwrap());
                println!("{threads} threads {:10} one stage {a:.2} ms, two stages {b:.2}, fused {c:.2}, with residual {d:.2}, one chroma plane {e:.2}", isa.name());
            });
        }
    }
}
