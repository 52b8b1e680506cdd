// Rows of the operand as bytes: each 32 values in 127ths of the largest of them, beside them that scale and, for weights that have an offset, the scaled sum of
// the bytes (llama.cpp's Q8_1, in f32). A thread takes a block of 32.

override K_QUADS: u32;  // columns / 128

@group(0) @binding(1) var<storage, read_write> operand: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> operand_line: array<vec2<f32>>;

@compute @workgroup_size(64)
fn quantise_rows(@builtin(global_invocation_id) id: vec3<u32>) {
  lane_id = id.x % 8u;
  if (id.x >= 4u * K_QUADS || id.y >= row_count()) {
    return;
  }
  let row = row_offset() + id.y;
  let start = input_row(row);
  //#for q in 0..8
  let x_#q = input_make(input_load(start, 8u * id.x + #(q)u), 8u * id.x + #(q)u);
  //#end
  // Compared as bits, among which infinities and NaN come last: such a block's scale is one of them, so that its products are not finite either.
  var tops = vec4<u32>(0u);
  //#for q in 0..8
  tops = max(tops, bitcast<vec4<u32>>(x_#q) & vec4<u32>(0x7fffffffu));
  //#end
  let bits = max(max(tops.x, tops.y), max(tops.z, tops.w));
  let top = bitcast<f32>(bits);
  // Below this the inverse would be infinite; beside any weight such values are nothing.
  let some = top > 1e-36;
  let scale = select(select(0.0, top / 127.0, some), top, bits >= 0x7f800000u);
  let inverse = select(0.0, 127.0 / top, some);
  var total = 0;
  //#for q in 0..8
  let code_#q = vec4<i32>(round(x_#q * inverse));
  total += code_#q.x + code_#q.y + code_#q.z + code_#q.w;
  //#end
  let block = row * 4u * K_QUADS + id.x;
  //#for h in 0..2
  operand[2u * block + #(h)u] = vec4<u32>(
    pack4xI8(code_#(4 * h)),
    pack4xI8(code_#(4 * h + 1)),
    pack4xI8(code_#(4 * h + 2)),
    pack4xI8(code_#(4 * h + 3)),
  );
  //#end
  operand_line[block] = vec2<f32>(scale, scale * f32(total));
}
