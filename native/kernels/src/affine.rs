/// The body of [`crate::Kernels::affine`], inlined into each set so that the compiler vectorises it for that set.
#[inline(always)]
pub(crate) fn affine(dots: &[i32], line: [f32; 2], out: &mut [f32]) {
    assert_eq!(dots.len(), out.len(), "products and scores of different numbers");
    let [scale, offset] = line;
    for (out, dot) in out.iter_mut().zip(dots) {
        *out = *dot as f32 * scale + offset;
    }
}
