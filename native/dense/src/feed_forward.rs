//! Two products with an activation between them.

use rayon::prelude::*;
use sparrow_kernels::Kernels;
use sparrow_kernels::byte_products::PANEL;
use sparrow_threads::with_threads;

use crate::error::DenseError;
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::scratch::with_room;

/// What lies between the products of a feed-forward network. Gated ones take outputs in pairs, (gate, up) of one neuron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// SwiGLU (Shazeer 2020).
    SwiGlu,
    /// GEGLU (Shazeer 2020), GELU by its tanh approximation.
    GeGlu,
    /// Squared ReLU (So et al. 2021).
    Relu2,
}

/// No exponent is larger: what is divided by its power is nothing then.
const MOST: f32 = 80.0;

impl Activation {
    /// Outputs of the first product for one input of the second.
    pub fn outputs(self) -> usize {
        if self == Self::Relu2 { 1 } else { 2 }
    }

    /// Activates one row of a product, `product` being all rows in panels; what the row has beyond them stays as it is.
    fn apply(self, kernels: &dyn Kernels, product: &[f32], [row, rows]: [usize; 2], out: &mut [f32]) {
        let panels = product.chunks_exact(rows * PANEL).map(|panel| &panel[row * PANEL..][..PANEL]);
        if self == Self::Relu2 {
            for (panel, out) in panels.zip(out.chunks_mut(PANEL)) {
                for (x, out) in panel.iter().zip(out) {
                    let positive = if *x < 0.0 { 0.0 } else { *x };
                    *out = positive * positive;
                }
            }
            return;
        }
        // Both are x · y times the logistic function of x or of a cubic polynomial in it.
        let mut powers = [0f32; PANEL / 2];
        for (panel, out) in panels.zip(out.chunks_mut(PANEL / 2)) {
            let pairs = panel.as_chunks::<2>().0;
            for ([x, _], power) in pairs.iter().zip(&mut powers) {
                let x = if self == Self::SwiGlu { *x } else { 1.595_769 * x * (1.0 + 0.044_715 * x * x) };
                *power = if -x > MOST { MOST } else { -x };
            }
            kernels.exp_sum(&mut powers, 0.0, 1.0);
            for (([x, y], power), out) in pairs.iter().zip(powers).zip(out) {
                *out = x / (1.0 + power) * y;
            }
        }
    }
}

/// `down · activation(up · rows)`: rows `[rows][columns]` are normalised first where a norm is given, `out` is `[outputs / 32][rows][32]`.
///
/// # Errors
/// When the lengths do not fit.
pub fn feed_forward(
    kernels: &dyn Kernels,
    [up, down]: [&Matrix; 2],
    activation: Activation,
    rows: &[f32],
    norm: Option<Norm<'_>>,
    out: &mut [f32],
) -> Result<(), DenseError> {
    if up.outputs() / activation.outputs() > down.columns() {
        return Err(DenseError(format!(
            "{} outputs with {activation:?} between, expected at most {} inputs",
            up.outputs(),
            down.columns()
        )));
    }
    let count = rows.len() / up.columns();
    let width = up.outputs() / activation.outputs();
    with_room(count * up.outputs(), |product| {
        up.multiply(kernels, rows, norm, product)?;
        let product = &*product;
        with_room(count * down.columns(), |hidden| {
            let activate = |(row, hidden): (usize, &mut [f32])| {
                activation.apply(kernels, product, [row, count], hidden);
                hidden[width..].fill(0.0);
            };
            if count == 1 {
                activate((0, hidden));
            } else {
                with_threads(|| hidden.par_chunks_exact_mut(down.columns()).enumerate().for_each(activate));
            }
            down.multiply(kernels, hidden, None, out)
        })
    })
}
