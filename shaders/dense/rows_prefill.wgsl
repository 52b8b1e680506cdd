// Only the rows of prefill: the first ones.

fn row_offset() -> u32 {
  return 0u;
}

fn row_count() -> u32 {
  return step.rows - step.decodes;
}
