//! Exports of the look-up-table crate.
