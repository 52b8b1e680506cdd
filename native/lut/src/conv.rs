//! 3x3 convolutions on 7-bit activations with 8-bit weights: `(bias + sum) >> shift`, clamped to 0..127 in hidden layers
//! and to -128..127 in the last. Beyond the border lies the nearest pixel. Activations stop at 127 so that two products fit 16 bits (vpmaddubsw).

use crate::error::{Error, require};
use crate::isa::Isa;
use crate::rows::for_rows;
use crate::scalar;
use crate::short_runs::ShortRuns;

/// `height x width x channels` activations with a border of one pixel that repeats the outermost.
#[derive(Default)]
pub struct Activations {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    pub(crate) data: Vec<u8>,
}

impl Activations {
    pub fn reshape(&mut self, width: usize, height: usize, channels: usize) {
        let len = (width + 2) * (height + 2) * channels;
        if (self.width, self.height, self.channels) != (width, height, channels) {
            (self.width, self.height, self.channels) = (width, height, channels);
            self.data.clear();
            self.data.resize(len, 0);
        }
    }

    pub fn stride(&self) -> usize {
        (self.width + 2) * self.channels
    }

    /// Index of the first channel of pixel (y, x).
    #[inline(always)]
    pub fn place(&self, y: usize, x: usize) -> usize {
        (y + 1) * self.stride() + (x + 1) * self.channels
    }

    /// Fills rows in parallel, and the border: `work(y, pixels)` where `pixels` holds `width * channels` activations.
    pub fn fill_rows(&mut self, work: impl Fn(usize, &mut [u8]) + Sync) {
        let (stride, c, len, h) = (self.stride(), self.channels, self.width * self.channels, self.height);
        for_rows(&mut self.data[stride..(h + 1) * stride], stride, |rows, part| {
            for (row, y) in part.chunks_exact_mut(stride).zip(rows) {
                work(y, &mut row[c..c + len]);
                row.copy_within(c..2 * c, 0);
                row.copy_within(len..len + c, len + c);
            }
        });
        self.data.copy_within(stride..2 * stride, 0);
        self.data.copy_within(h * stride..(h + 1) * stride, (h + 1) * stride);
    }
}

/// One convolution.
pub struct Layer {
    pub(crate) inputs: usize,
    /// A multiple of 16; outputs past the layer's own are zero.
    pub(crate) outputs: usize,
    /// `[9 * inputs / 4][outputs][4]`.
    pub(crate) weights: Vec<i8>,
    pub(crate) bias: Vec<i32>,
    pub(crate) shift: Vec<u32>,
    pub(crate) hidden: bool,
    /// For every 16 outputs, where there are no byte dot products.
    pub(crate) short: Vec<ShortRuns>,
}

impl Layer {
    /// `weights` is `[outputs][3][3][inputs]`; `bias` includes the rounding half; `shift` is 0 to 14 an output.
    pub fn new(
        inputs: usize,
        outputs: usize,
        weights: &[i8],
        bias: &[i32],
        shift: &[u8],
        hidden: bool,
    ) -> Result<Self, Error> {
        let sizes = inputs.is_multiple_of(4) && (4..=64).contains(&inputs) && (1..=64).contains(&outputs);
        require(sizes, || {
            format!("a layer has {inputs} inputs and {outputs} outputs, expected 4 to 64 in fours and 1 to 64")
        })?;
        let expected = outputs * 9 * inputs;
        require(weights.len() == expected, || format!("a layer has {} weights, expected {expected}", weights.len()))?;
        require(bias.len() == outputs && shift.len() == outputs, || {
            format!("a layer has {} biases and {} shifts, expected {outputs}", bias.len(), shift.len())
        })?;
        let wide = shift.iter().find(|&&s| s > 14);
        require(wide.is_none(), || format!("a layer's shift is {}, expected at most 14", wide.unwrap_or(&0)))?;
        let large = bias.iter().find(|b| b.unsigned_abs() > 1 << 28);
        require(large.is_none(), || format!("a layer's bias is {}, expected at most 2^28", large.unwrap_or(&0)))?;
        let padded = outputs.next_multiple_of(16);
        let mut packed = vec![0; padded * 9 * inputs];
        for (o, row) in weights.chunks_exact(9 * inputs).enumerate() {
            for (i, &w) in row.iter().enumerate() {
                packed[(i / 4 * padded + o) * 4 + i % 4] = w;
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(padded, 0);
        let mut shift: Vec<u32> = shift.iter().map(|&s| u32::from(s)).collect();
        shift.resize(padded, 0);
        let short = (0..padded / 16).map(|group| ShortRuns::new(&packed, padded, group)).collect();
        Ok(Self { inputs, outputs: padded, weights: packed, bias, shift, hidden, short })
    }

    /// Byte offsets from a pixel of the words that its output reads.
    #[inline(always)]
    pub(crate) fn offsets(&self, input: &Activations) -> Vec<isize> {
        let (stride, c) = (input.stride() as isize, input.channels as isize);
        let taps = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| dy * stride + dx * c));
        let words = self.inputs as isize / 4;
        taps.flat_map(|tap| (0..words).map(move |k| tap + 4 * k)).collect()
    }

    #[inline(always)]
    pub(crate) fn requantise(&self, sum: i32, output: usize) -> u8 {
        let value = sum >> self.shift[output];
        if self.hidden { value.clamp(0, 127) as u8 } else { value.clamp(-128, 127) as i8 as u8 }
    }

    pub(crate) fn row(&self, isa: Isa, input: &Activations, y: usize, out: &mut [u8]) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: callers admit only sets that this machine has.
            Isa::Avx512 => unsafe { crate::avx512_conv::convolve(self, input, y, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { crate::avx2_conv::convolve_vnni(self, input, y, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { crate::avx2_conv::convolve(self, input, y, out) },
            _ => scalar::convolve(self, input, y, out),
        }
    }
}

/// Convolutions in sequence.
pub struct Net {
    layers: Vec<Layer>,
}

/// A net's activations between layers, kept from frame to frame.
#[derive(Default)]
pub struct Scratch {
    /// What the first layer reads.
    pub input: Activations,
    even: Activations,
    odd: Activations,
}

impl Net {
    /// At least two layers whose sizes chain; a layer may leave out inputs past its predecessor's own.
    pub fn new(layers: Vec<Layer>) -> Result<Self, Error> {
        require(layers.len() >= 2, || format!("a net has {} layers, expected at least 2", layers.len()))?;
        for pair in layers.windows(2) {
            require(pair[0].outputs == pair[1].inputs.next_multiple_of(16), || {
                format!("a layer gives {} channels to one that takes {}", pair[0].outputs, pair[1].inputs)
            })?;
            require(pair[0].hidden, || "a layer before the last is signed, expected 0..127".into())?;
        }
        Ok(Self { layers })
    }

    /// Channels a pixel of the input.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Channels a pixel of the result, a multiple of 16.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    pub(crate) fn last_hidden(&self) -> bool {
        self.layers.last().is_some_and(|layer| layer.hidden)
    }

    /// Multiply-adds a pixel.
    pub fn cost(&self) -> usize {
        self.layers.iter().map(|layer| layer.weights.len()).sum()
    }

    /// Runs on `scratch.input`; `out` holds `height x width x outputs`.
    pub fn run(&self, isa: Isa, scratch: &mut Scratch, out: &mut [u8]) {
        let (w, h) = (scratch.input.width, scratch.input.height);
        let (last, hidden) = self.layers.split_last().expect("Net::new admits no empty list");
        for (i, layer) in hidden.iter().enumerate() {
            let Scratch { input, even, odd } = scratch;
            let (from, to): (&Activations, _) = match i {
                0 => (input, even),
                i if i % 2 == 1 => (even, odd),
                _ => (odd, even),
            };
            to.reshape(w, h, layer.outputs);
            to.fill_rows(|y, row| layer.row(isa, from, y, row));
        }
        let from = if hidden.len() % 2 == 1 { &scratch.even } else { &scratch.odd };
        for_rows(out, w * last.outputs, |rows, part| {
            for (row, y) in part.chunks_exact_mut(w * last.outputs).zip(rows) {
                last.row(isa, from, y, row);
            }
        });
    }
}
