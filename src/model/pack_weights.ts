import { GROUP, type UnpackedWeights } from "../formats/quantized_blocks.ts";

/**
 * A row as `shaders/dense/unpack_q4.wgsl` reads it. Scale and offset are rounded to half precision: K types multiply theirs by 6-bit factors.
 *
 * @param words 16 bytes for each 32 weights
 * @param scales scale and offset of each 32
 */
export function packQ4(
  row: UnpackedWeights,
  words: Uint32Array<ArrayBuffer>,
  scales: Float16Array<ArrayBuffer>,
): void {
  for (let block = 0; block < row.count / 32; block++) {
    for (let j = 0; j < 4; j++) {
      const at = 8 * block + j;
      words[4 * block + j] = row.words[at] | (row.words[at + 4] << 4);
    }
  }
  packLines(row, scales);
}

/** A row as `shaders/dense/unpack_q8min.wgsl` reads it: as `packQ4` has it, but a byte a weight. */
export function packQ8Min(
  row: UnpackedWeights,
  codes: Int8Array<ArrayBuffer>,
  scales: Float16Array<ArrayBuffer>,
): void {
  codes.set(row.codes);
  packLines(row, scales);
}

function packLines(row: UnpackedWeights, scales: Float16Array<ArrayBuffer>): void {
  for (let block = 0; block < row.count / 32; block++) {
    scales[2 * block] = row.scales[2 * block];
    scales[2 * block + 1] = -row.mins[2 * block];
  }
}

/**
 * A row as `shaders/dense/unpack_q8g16.wgsl` reads it: exactly, but for scales rounded to half precision, where a group's zero is one of its
 * codes. Where it is not (Q2_K; Q4_1, Q4_K, Q5_1 and Q5_K beside other types) the group is coded anew, each weight off by at most 1/254 of its largest.
 *
 * @param codes a byte for each weight
 * @param scales one for each 16
 */
export function packQ8g16(
  row: UnpackedWeights,
  codes: Int8Array<ArrayBuffer>,
  scales: Float16Array<ArrayBuffer>,
): void {
  for (let group = 0; group < row.count / GROUP; group++) {
    const from = group * GROUP;
    const [scale, min] = [row.scales[group], row.mins[group]];
    const zero = min === 0 ? 0 : min / scale;
    if (Number.isInteger(zero) && Math.abs(zero) <= 32) {
      scales[group] = scale;
      for (let i = from; i < from + GROUP; i++) codes[i] = row.codes[i] - zero;
      continue;
    }
    let most = 0;
    for (let i = from; i < from + GROUP; i++) {
      most = Math.max(most, Math.abs(scale * row.codes[i] - min));
    }
    scales[group] = most / 127;
    const unit = scales[group];
    for (let i = from; i < from + GROUP; i++) {
      // Rounded down, the scale can put the largest weight a little past 127.
      const code = unit === 0 ? 0 : Math.round((scale * row.codes[i] - min) / unit);
      codes[i] = Math.max(-127, Math.min(127, code));
    }
  }
}
