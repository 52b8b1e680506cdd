//! One or several table stages on a plane.

use crate::error::{Error, require};
use crate::geometry::{MAX_STEP, Pattern};
use crate::isa::Isa;
use crate::phases::Phases;
use crate::rows::for_rows;
use crate::scalar;
use crate::table::{CellTable, RowTable, check_shift};

/// Most patterns of a stage: their sums (24 x 4 x 64 x 127, and the bias) divide exactly enough in single precision.
const MAX_PATTERNS: usize = 24;

/// A stage: `out = clamp(floor((sum + bias + divisor/2) / divisor) + centre * pixel)`, where `sum` adds the interpolated
/// rows of every pattern in every rotation and `pixel` lies under the output. MuLUT's first stage is (divisor 192, bias 127*192, no centre), its second
/// (48, 0, no centre).
pub struct Stage {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) tables: Tables,
    pub(crate) scale: usize,
    pub(crate) step: usize,
    pub(crate) shift: u32,
    pub(crate) rotations: usize,
    pub(crate) divisor: i32,
    pub(crate) bias: i32,
    pub(crate) centre: bool,
}

pub(crate) enum Tables {
    Rows(Vec<RowTable>),
    Cells(Vec<CellTable>),
}

/// The arithmetic of a stage, apart from its tables.
#[derive(Clone, Copy, Debug)]
pub struct StageShape {
    /// Outputs a side for each pixel of the cascade's input (a place): 1 to 4.
    pub scale: usize,
    /// Pixels a side that the stage reads for each place, 1 or 2: what the stage before made of it.
    pub step: usize,
    /// Log2 of the sampling interval: 4 to 6.
    pub shift: u32,
    /// 1 or 4 quarter turns.
    pub rotations: usize,
    /// 1 to 1024.
    pub divisor: i32,
    /// Added to the sum.
    pub bias: i32,
    /// Whether the result is added to the pixel.
    pub centre: bool,
}

impl Stage {
    /// `values` holds the patterns' tables one after the other, each `rows x scale²` int8 with the last axis fastest.
    pub fn new(shape: StageShape, patterns: &[Pattern], values: &[i8]) -> Result<Self, Error> {
        let StageShape { scale, step, shift, rotations, divisor, bias, centre } = shape;
        require((1..=4).contains(&scale), || format!("a stage enlarges by {scale}, expected 1 to 4"))?;
        require((1..=MAX_STEP).contains(&step) && scale.is_multiple_of(step), || {
            format!("a stage that enlarges by {scale} has step {step}, expected 1, or 2 for an even scale")
        })?;
        patterns.iter().try_for_each(|pattern| pattern.within(step))?;
        check_shift(shift)?;
        require(rotations == 1 || rotations == 4, || format!("a stage has {rotations} rotations, expected 1 or 4"))?;
        require((1..=1024).contains(&divisor), || format!("a stage's divisor is {divisor}, expected 1 to 1024"))?;
        require(bias.unsigned_abs() <= 1 << 20, || format!("a stage's bias is {bias}, expected at most {}", 1 << 20))?;
        let count = patterns.len();
        require((1..=MAX_PATTERNS).contains(&count), || {
            format!("a stage has {count} patterns, expected 1 to {MAX_PATTERNS}")
        })?;
        require(values.len().is_multiple_of(count), || {
            format!("{} table values do not divide among {count} patterns", values.len())
        })?;
        let parts = values.chunks_exact(values.len() / count);
        let tables = if scale == 1 {
            Tables::Cells(parts.map(|part| CellTable::new(part, shift)).collect::<Result<_, _>>()?)
        } else {
            Tables::Rows(parts.map(|part| RowTable::new(part, shift, scale * scale)).collect::<Result<_, _>>()?)
        };
        Ok(Self { patterns: patterns.to_vec(), tables, scale, step, shift, rotations, divisor, bias, centre })
    }

    fn run(&self, isa: Isa, frame: &Phases, out: &mut [u8]) {
        for_rows(out, self.scale * self.scale * frame.width(), |rows, part| match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Cascade::run` admits only sets that this machine has.
            Isa::Avx512 => unsafe { crate::avx512::stage(self, frame, rows, part) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 | Isa::AvxVnni => unsafe { crate::avx2_stage::stage(self, frame, rows, part) },
            _ => scalar::stage(self, frame, rows, part),
        });
    }
}

/// Stages in sequence.
pub struct Cascade {
    stages: Vec<Stage>,
}

impl Cascade {
    /// At least one stage; each reads what the one before makes of a place.
    pub fn new(stages: Vec<Stage>) -> Result<Self, Error> {
        require(!stages.is_empty(), || "a cascade has no stage, expected at least one".into())?;
        let mut made = 1;
        for (number, stage) in stages.iter().enumerate() {
            require(stage.step == made, || {
                format!("stage {number} of a cascade has step {}, expected {made}, the scale before it", stage.step)
            })?;
            made = stage.scale;
        }
        Ok(Self { stages })
    }

    /// Output pixels a side for each input pixel.
    pub fn scale(&self) -> usize {
        self.stages.last().map_or(1, |stage| stage.scale)
    }

    /// `source` is `width x height`; `out` is `scale` times as large either way. Runs on the current rayon pool.
    pub fn run(&self, isa: Isa, source: &[u8], width: usize, height: usize, out: &mut [u8]) -> Result<(), Error> {
        check_planes(source.len(), out.len(), width, height, self.scale())?;
        check_isa(isa)?;
        let mut frame = Phases::default();
        frame.fill(source, width, height, 1);
        let (last, early) = self.stages.split_last().expect("Cascade::new admits no empty list");
        let mut middle = Vec::new();
        for stage in early {
            middle.resize(width * height * stage.scale * stage.scale, 0);
            stage.run(isa, &frame, &mut middle);
            frame.fill(&middle, width, height, stage.scale);
        }
        last.run(isa, &frame, out);
        Ok(())
    }
}

/// Refuses sizes that do not fit; 16384 pixels a side keeps every offset within 32 bits.
pub(crate) fn check_planes(source: usize, out: usize, width: usize, height: usize, scale: usize) -> Result<(), Error> {
    let fits = (1..=16384).contains(&width) && (1..=16384).contains(&height);
    require(fits, || format!("the frame is {width}x{height}, expected 1 to 16384 a side"))?;
    require(source == width * height, || format!("the frame has {source} pixels, expected {}", width * height))?;
    let expected = width * height * scale * scale;
    require(out == expected, || format!("the result has room for {out} pixels, expected {expected}"))
}

pub(crate) fn check_isa(isa: Isa) -> Result<(), Error> {
    require(isa.available(), || format!("this machine lacks {}, expected one of the sets that it has", isa.name()))
}
