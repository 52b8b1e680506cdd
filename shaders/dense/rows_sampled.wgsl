// The rows listed for sampling.

fn row_offset() -> u32 {
  return 0u;
}

fn row_count() -> u32 {
  return step.samples;
}
