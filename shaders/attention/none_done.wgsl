// No page of a row has been attended to before.

fn tokens_before() -> u32 {
  return 0u;
}
