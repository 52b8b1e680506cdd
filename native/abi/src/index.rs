//! Exports of the index crate.
