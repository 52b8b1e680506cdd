// Work split of the pages that decoding rows share (Parrot, Lin et al. 2024, section 7; ChunkAttention, Ye et al. 2024): a workgroup takes
// up to ROWS / GROUP successive decoding rows whose tables begin with the same pages, and the GROUP query heads of one key/value head of
// each, so that a page is loaded and converted once for all of them. GROUP is what a workgroup of attention_decode.wgsl takes of one row.

@group(0) @binding(6) var<storage, read> blocks: array<vec4<u32>>;  // (first row, rows, pages shared, page table)

var<private> block: vec4<u32>;
var<private> first_head: u32;

fn begin(group_id: vec3<u32>) {
  block = blocks[group_id.x];
  first_head = group_id.y * #(GROUP)u;
}

fn row_total() -> u32 {
  return block.y * #(GROUP)u;
}

fn kv_head() -> u32 {
  return first_head / QUERIES_PER_KV;
}

fn row_of(r: u32) -> u32 {
  return block.x + r / #(GROUP)u;
}

fn head_of(r: u32) -> u32 {
  return first_head + r % #(GROUP)u;
}

// All keys of a shared page are before every row that shares it.
fn limit_of(r: u32) -> u32 {
  return block.z * PAGE_TOKENS - 1u;
}

fn page_table() -> u32 {
  return block.w;
}
