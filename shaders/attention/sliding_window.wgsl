// Where the window of a row begins that sees its latest tokens only.

override WINDOW: u32;  // keys that a row sees: its own and those before it

// The first key that a row sees whose own is `limit`.
fn first_seen(limit: u32) -> u32 {
  return limit + 1u - min(limit + 1u, WINDOW);
}
