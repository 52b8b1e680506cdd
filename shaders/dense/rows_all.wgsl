// Every row of the step.

fn row_offset() -> u32 {
  return 0u;
}

fn row_count() -> u32 {
  return step.rows;
}
