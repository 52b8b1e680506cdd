//! SIMD kernels with run-time dispatch.
