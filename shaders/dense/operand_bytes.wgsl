// The operand as quantise_rows left it: 16 bytes a word, and for each block of 32 its scale and its scaled sum.

@group(0) @binding(3) var<storage, read> operand: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> operand_line: array<vec2<f32>>;
