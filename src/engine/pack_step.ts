import { LAST_SAMPLED } from "../common/last_sampled.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { SAMPLE_BYTES, STEP_ROW_BYTES } from "../kernels/step_buffers.ts";
import { largeBlockRows, SMALL_BLOCK_ROWS } from "../kernels/attention.ts";
import type { StepShape, Transformer } from "../model/transformer.ts";
import type { RowWindow } from "../retrieval/window.ts";
import { planShared } from "./shared_prefixes.ts";
import type { StepRow } from "./step.ts";

/** Decoding rows that see a window of their context, and the buffer that tells attention so. */
export interface WindowedRows {
  windows: ReadonlyMap<unknown, RowWindow>;
  /** `StepRow` per token of the step; written for decoding rows only. Undefined where no shader attends. */
  buffer: GPUBuffer | undefined;
}

/**
 * Lays a batch out for the kernels and uploads it: prefill rows first, then decoding rows, those with a window last; prefill cut into
 * blocks of one sequence each, decoding rows that share pages in blocks side by side. In a step with windows no pages are shared.
 *
 * @throws {RangeError} when the batch is over the runner's sizes.
 */
export function packStep(
  gpu: Gpu,
  { buffers, shape, sharedTiles }: Transformer,
  batch: readonly StepRow[],
  maxRows: number,
  windowed?: WindowedRows,
): StepShape {
  const count = batch.reduce((sum, row) => sum + Math.max(1, row.tokens.length), 0);
  if (count > maxRows) throw new RangeError(`pack a step: ${count} tokens, at most ${maxRows} fit`);
  const pagesOf = (row: StepRow) => windowed?.windows.get(row)?.pages ?? row.pages;
  const tables = batch.reduce((sum, row) => sum + pagesOf(row).length, 0);
  if (tables > buffers.maxPages) {
    throw new RangeError(`pack a step: ${tables} page entries, at most ${buffers.maxPages} fit`);
  }

  const rows = new Uint32Array(count * 4);
  const windowRows = windowed && new Uint32Array(count * 4);
  const pages = new Uint32Array(tables);
  const large: number[] = [];
  const small: number[] = [];
  const spans: number[] = [];
  const lastRow = new Uint32Array(batch.length);
  const tall = largeBlockRows(gpu, shape.paddedHeadDim);
  let at = 0;
  let table = 0;
  const place = (row: StepRow, index: number) => {
    const own = pagesOf(row);
    const window = windowed?.windows.get(row);
    pages.set(own, table);
    const { tokens, position, slot } = row;
    const decode = tokens.length === 0;
    const length = decode ? 1 : tokens.length;
    // A window's table lacks the skipped pages: its start is moved back so that the token's own page is found by its position (both
    // sums wrap), while attention to the window counts positions within it.
    const start = table - (window?.skipped ?? 0);
    const seenFrom = window?.position ?? position;
    spans.push(at, length, position, seenFrom, table, own.length, decode ? 1 : 0);
    for (let i = 0; i < length; i++) {
      rows.set([decode ? LAST_SAMPLED : tokens[i], slot, position + i, start], (at + i) * 4);
    }
    windowRows?.set([LAST_SAMPLED, slot, seenFrom, table], at * 4);
    if (!decode) {
      for (let i = 0; i < length;) {
        const left = length - i;
        const into = left > SMALL_BLOCK_ROWS ? large : small;
        const taken = Math.min(left, left > SMALL_BLOCK_ROWS ? tall : SMALL_BLOCK_ROWS);
        into.push(at + i, taken, position + i, table);
        i += taken;
      }
    }
    at += length;
    table += own.length;
    lastRow[index] = at - 1;
  };
  batch.forEach((row, index) => row.tokens.length > 0 && place(row, index));
  const prefillRows = at;
  const inWindow = (row: StepRow) => windowed?.windows.has(row) ?? false;
  const decoding = batch.flatMap((row, index) => row.tokens.length === 0 ? [{ row, index }] : []);
  const dense = decoding.filter(({ row }) => !inWindow(row));
  const { order, blocks } = planShared(
    dense.map(({ row }) => row),
    dense.length === decoding.length ? sharedTiles : { ...sharedTiles, rows: [] },
  );
  const shared = sharedTiles.rows.map((): number[] => []);
  const pagesDone = new Uint32Array(decoding.length);
  const tableOf = order.map((each) => {
    const start = table;
    place(dense[each].row, dense[each].index);
    return start;
  });
  for (const { kind, first, rows: height, pages: done } of blocks) {
    shared[kind].push(prefillRows + first, height, done, tableOf[first]);
    pagesDone.fill(done, first, first + height);
  }
  for (const { row, index } of decoding) if (inWindow(row)) place(row, index);

  const samples = packSamples(batch, lastRow);
  const sampleCount = samples.byteLength / SAMPLE_BYTES;
  if (sampleCount > buffers.maxSamples) {
    throw new RangeError(
      `pack a step: ${sampleCount} sampled rows, at most ${buffers.maxSamples} fit`,
    );
  }
  const step = {
    rows: count,
    decodes: count - prefillRows,
    prefillRows,
    stepRows: rows,
    spans: Uint32Array.from(spans),
    pages,
    prefillEnd: batch.reduce(
      (end, { tokens: { length }, position }) =>
        length > 0 ? Math.max(end, position + length) : end,
      0,
    ),
    largeBlocks: large.length / 4,
    smallBlocks: small.length / 4,
    samples: sampleCount,
    shared: shared.map((words) => words.length / 4),
  };
  const { decodes, prefillEnd } = step;
  buffers.writeCounts({ rows: count, samples: sampleCount, decodes, prefillEnd });
  const pool = gpu.buffers;
  pool.write(buffers.rows, 0, rows);
  if (windowed?.buffer && windowRows) {
    pool.write(windowed.buffer, prefillRows * STEP_ROW_BYTES, windowRows.subarray(prefillRows * 4));
  }
  if (pages.length > 0) pool.write(buffers.pages, 0, pages);
  if (large.length > 0) pool.write(buffers.largeBlocks, 0, Uint32Array.from(large));
  if (small.length > 0) pool.write(buffers.smallBlocks, 0, Uint32Array.from(small));
  shared.forEach((words, kind) =>
    words.length > 0 && pool.write(buffers.sharedBlocks[kind], 0, Uint32Array.from(words))
  );
  if (blocks.length > 0) pool.write(buffers.pagesDone, 0, pagesDone);
  buffers.writeSamples(samples);
  return step;
}

function packSamples(batch: readonly StepRow[], lastRow: Uint32Array): Uint8Array<ArrayBuffer> {
  const wanted = batch.flatMap((row, index) => row.sample ? [{ row, last: lastRow[index] }] : []);
  const bytes = new Uint8Array(wanted.length * SAMPLE_BYTES);
  const view = new DataView(bytes.buffer);
  wanted.forEach(({ row: { slot, sampling, sampleIndex }, last }, i) => {
    // Of a seed the low 32 bits count; those of a large `topK` would keep few tokens.
    const words = [last, slot, sampleIndex, sampling.seed, Math.min(sampling.topK, 0xffffffff)];
    words.forEach((word, j) => view.setUint32(i * SAMPLE_BYTES + j * 4, word, true));
    const floats = [sampling.temperature, sampling.topP, sampling.minP];
    floats.forEach((value, j) => view.setFloat32(i * SAMPLE_BYTES + 20 + j * 4, value, true));
  });
  return bytes;
}

/** Lists rows of the step whose logits are wanted and from which nothing is sampled. */
export function packRows(rows: readonly number[]): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(rows.length * SAMPLE_BYTES / 4);
  rows.forEach((row, i) => words[i * SAMPLE_BYTES / 4] = row);
  return new Uint8Array(words.buffer);
}
