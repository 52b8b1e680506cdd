//! Look-up-table super-resolution.
