// Only the rows of decode: the last ones.

fn row_offset() -> u32 {
  return step.rows - step.decodes;
}

fn row_count() -> u32 {
  return step.decodes;
}
