// Work split of prefill: a workgroup takes up to ROWS successive tokens of one sequence and one query head.

@group(0) @binding(6) var<storage, read> blocks: array<vec4<u32>>;  // (first row, rows, position of the first, page table)

var<private> block: vec4<u32>;
var<private> head: u32;

fn begin(group_id: vec3<u32>) {
  block = blocks[group_id.x];
  head = group_id.y;
}

fn row_total() -> u32 {
  return block.y;
}

fn kv_head() -> u32 {
  return head / QUERIES_PER_KV;
}

fn row_of(r: u32) -> u32 {
  return block.x + r;
}

fn head_of(r: u32) -> u32 {
  return head;
}

// Last key position that row r may see.
fn limit_of(r: u32) -> u32 {
  return block.z + r;
}

fn page_table() -> u32 {
  return block.w;
}
