use sparrow_kernels::Kernels;

/// The value below which the squares of `errors` sum to at most `allowed`, to within an eighth of it; infinity when all do. Those below
/// `from` are known to.
pub(super) fn limit(kernels: &dyn Kernels, errors: &[f32], allowed: f32, from: f32) -> f32 {
    if kernels.squares_below(errors, f32::INFINITY) <= allowed {
        return f32::INFINITY;
    }
    // Bisects exponent and three bits of the mantissa, each step a pass of 0.04 ns a value. As many errors as there are cannot sum to more below the
    // root of their share, and the first one above the root of all is too much: some six steps.
    let step = |x: f32| x.to_bits() >> 20;
    let value = |step: u32| f32::from_bits(step << 20);
    // Squares of what is smaller than this are zero.
    const LEAST: f32 = 1e-23;
    let mut low = step((allowed / errors.len() as f32).sqrt().max(from).max(LEAST));
    let mut high = step(allowed.sqrt()).max(low) + 1;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if kernels.squares_below(errors, value(middle)) <= allowed {
            low = middle;
        } else {
            high = middle;
        }
    }
    value(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use sparrow_kernels::available;

    #[test]
    fn no_more_than_is_allowed_lies_below_and_a_step_further_would_be_more() {
        let mut rng = Rng::new(3);
        for set in available() {
            for count in [1, 2, 17, 3000] {
                let errors: Vec<f32> = (0..count).map(|_| (4.0 * rng.normal()).exp()).collect();
                let below = |bar: f32| -> f32 { errors.iter().filter(|x| **x < bar).map(|x| x * x).sum() };
                let all = below(f32::INFINITY);
                assert_eq!(limit(set, &errors, 1.001 * all, 0.0), f32::INFINITY);
                for share in [0.9, 0.3, 1e-2, 1e-4, 1e-9] {
                    let allowed = share * all;
                    let found = limit(set, &errors, allowed, 0.0);
                    assert!(below(found) <= 1.0001 * allowed, "{} of {allowed} below {found}", below(found));
                    // One error by itself may be too much.
                    let next = 1.1251 * found;
                    let enough = next >= allowed.sqrt() || below(next) >= 0.9999 * allowed;
                    assert!(enough, "{found} for {allowed} could be larger");
                    // What is known changes the way, not the end.
                    assert_eq!(limit(set, &errors, allowed, 0.7 * found), found);
                    assert_eq!(limit(set, &errors, allowed, found), found);
                }
            }
        }
    }

    #[test]
    fn nothing_allowed_leaves_nothing_out_but_zeros() {
        for set in available() {
            let found = limit(set, &[0.5, 0.0, 2.0, 1e-3], 0.0, 0.0);
            assert!(found > 0.0 && found <= 1e-3, "{found}");
            assert_eq!(limit(set, &[], 0.0, 0.0), f32::INFINITY);
        }
    }
}
