// Pages that attention_shared.wgsl has attended to on behalf of a row; 0 for rows that share none.

@group(0) @binding(13) var<storage, read> pages_done: array<u32>;  // [decoding row]

fn tokens_before() -> u32 {
  return pages_done[sequence()] * PAGE_TOKENS;
}
