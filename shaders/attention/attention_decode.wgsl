// Work split of decode: a workgroup takes the query heads that share one key/value head (ROWS of them), of one sequence.

@group(0) @binding(6) var<storage, read> rows: array<StepRow>;

var<private> row: u32;
var<private> first_head: u32;

fn begin(group_id: vec3<u32>) {
  row = step.rows - step.decodes + group_id.x;  // decoding sequences come last
  first_head = group_id.y * #(ROWS)u;
}

// Index among the decoding rows.
fn sequence() -> u32 {
  return row + step.decodes - step.rows;
}

fn row_total() -> u32 {
  return #(ROWS)u;
}

fn kv_head() -> u32 {
  return first_head / QUERIES_PER_KV;
}

fn row_of(r: u32) -> u32 {
  return row;
}

fn head_of(r: u32) -> u32 {
  return first_head + r;
}

fn limit_of(r: u32) -> u32 {
  return rows[row].position;
}

fn page_table() -> u32 {
  return rows[row].table;
}
