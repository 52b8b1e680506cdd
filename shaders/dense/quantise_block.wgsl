// 32 values of the operand as bytes: in 127ths of the largest of them, beside them that scale and, for weights that have an offset, the scaled sum of the bytes
// (llama.cpp's Q8_1, in f32).

override K_QUADS: u32;  // columns / 128

@group(0) @binding(1) var<storage, read_write> operand: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> operand_line: array<vec2<f32>>;

fn quantise_block(row: u32, block: u32, x: array<vec4<f32>, 8>) {
  // Compared as bits, among which infinities and NaN come last: such a block's scale is one of them, so that its products are not finite either.
  var tops = vec4<u32>(0u);
  //#for q in 0..8
  tops = max(tops, bitcast<vec4<u32>>(x[#q]) & vec4<u32>(0x7fffffffu));
  //#end
  let bits = max(max(tops.x, tops.y), max(tops.z, tops.w));
  let top = bitcast<f32>(bits);
  // Below this the inverse would be infinite; beside any weight such values are nothing.
  let some = top > 1e-36;
  let scale = select(select(0.0, top / 127.0, some), top, bits >= 0x7f800000u);
  let inverse = select(0.0, 127.0 / top, some);
  var total = 0;
  //#for q in 0..8
  let code_#q = vec4<i32>(round(x[#q] * inverse));
  total += code_#q.x + code_#q.y + code_#q.z + code_#q.w;
  //#end
  let at = row * 4u * K_QUADS + block;
  //#for h in 0..2
  operand[2u * at + #(h)u] = vec4<u32>(
    pack4xI8(code_#(4 * h)),
    pack4xI8(code_#(4 * h + 1)),
    pack4xI8(code_#(4 * h + 2)),
    pack4xI8(code_#(4 * h + 3)),
  );
  //#end
  operand_line[at] = vec2<f32>(scale, scale * f32(total));
}
