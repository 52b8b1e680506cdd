//! What a step's rows are.

use crate::cache::PAGE;
use crate::error::DenseError;

/// Successive rows of a step that are successive tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The first, of the step.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// What RoPE takes for the position of the first.
    pub rotated: usize,
    /// Position of the first among the keys of `pages`: less than `rotated` where some of the sequence's pages are left out.
    pub position: usize,
    /// Where its keys and values are, from the start on.
    pub pages: &'a [u32],
    /// Whether it is one row that decodes, which is attended to in another order of sums than rows of prompts are.
    pub decodes: bool,
}

impl Rows<'_> {
    /// Page and slot of a row's own key.
    pub(crate) fn place(&self, row: usize) -> (usize, usize) {
        let position = self.position + row;
        (self.pages[position / PAGE] as usize, position % PAGE)
    }
}

/// Checks that the rows follow each other from 0 on and have the pages that they need; returns how many they are.
///
/// # Errors
/// Where they do not.
pub(crate) fn check(rows: &[Rows<'_>]) -> Result<usize, DenseError> {
    let mut next = 0;
    for rows in rows {
        let end = rows.position.saturating_add(rows.count);
        if rows.first != next
            || rows.count == 0
            || rows.decodes && rows.count != 1
            || end > rows.pages.len().saturating_mul(PAGE)
        {
            return Err(DenseError(format!(
                "rows from {} on, {} at position {} of {} pages, expected rows from {next} on within their pages",
                rows.first,
                rows.count,
                rows.position,
                rows.pages.len()
            )));
        }
        next = next.saturating_add(rows.count);
    }
    Ok(next)
}
