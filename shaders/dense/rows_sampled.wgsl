fn row_count() -> u32 {
  return step.samples;
}
