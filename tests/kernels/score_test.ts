import { assert, assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { createScore, SCORE_BYTES, SCORED_BYTES } from "../../src/kernels/score.ts";
import { likeliest, logSoftmax } from "../oracle/sampling.ts";
import { assertClose } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();
const NONE = 0xffffffff;
const SAMPLED = 0xffffffff;
const PLACES = 24;

interface Wanted {
  sample: number;
  wanted: number;
  top: number;
  place: number;
}

interface Score {
  token: number;
  logprob: number;
  top: { token: number; logprob: number }[];
}

/** Runs the kernel over rows of logits; padding behind the vocabulary is +∞, which must not count. */
async function score(
  rows: ArrayLike<number>[],
  wanted: Wanted[],
  { chosen = [], group }: { chosen?: number[]; group?: number } = {},
): Promise<Score[]> {
  const vocabulary = rows[0].length;
  const stride = vocabulary + 7;
  const values = new Float32Array(rows.length * stride).fill(Infinity);
  rows.forEach((logits, i) => values.set(Float32Array.from(logits), i * stride));
  const list = new Uint32Array(wanted.length * SCORED_BYTES / 4);
  wanted.forEach(({ sample, wanted, top, place }, i) =>
    list.set([sample, wanted, top, place], i * 4)
  );
  const buffers = {
    sampled: gpu.buffers.upload("sampled", Uint32Array.from([...chosen, 0])),
    scored: gpu.buffers.upload("scored", list),
    scores: gpu.buffers.upload("scores", new Uint8Array(PLACES * SCORE_BYTES).fill(77)),
  };
  const logits = gpu.buffers.upload("logits", values);
  const bind = await createScore(gpu, { vocabulary, logitsPerRow: stride, buffers, group });
  const pass = new StepPass(gpu);
  pass.dispatch(bind(logits), [wanted.length]);
  pass.submit();
  const found = await readBuffer(gpu, buffers.scores, 0, PLACES * SCORE_BYTES);
  for (const buffer of [...Object.values(buffers), logits]) gpu.buffers.destroy(buffer);
  const words = new Uint32Array(found);
  const floats = new Float32Array(found);
  const untouched = new Set(Array.from({ length: PLACES * SCORE_BYTES / 8 }, (_, i) => i));
  const scores = wanted.map(({ top, place }): Score => {
    const at = place * SCORE_BYTES / 8;
    const entries = Array.from({ length: top + 1 }, (_, i) => {
      untouched.delete(at + i);
      return { token: words[(at + i) * 2], logprob: floats[(at + i) * 2 + 1] };
    });
    return { ...entries[0], top: entries.slice(1) };
  });
  for (const i of untouched) assertEquals(words[i * 2], 0x4d4d4d4d, `entry ${i} was written`);
  return scores;
}

/** Whether the likeliest are those of the oracle, and all values are exact to single precision of the logits. */
function check(logits: ArrayLike<number>, found: Score, what: string): void {
  const expected = logSoftmax(logits);
  const top = likeliest(logits, found.top.length);
  assertEquals(found.top.map(({ token }) => token), top, what);
  const listed = [{ token: found.token, logprob: found.logprob }, ...found.top];
  for (const { token, logprob } of listed) {
    const wanted = expected[token];
    if (wanted === logprob) continue;
    const off = Math.abs(logprob - wanted) / (1 + Math.abs(wanted));
    assert(off < 2e-6, `${what}: token ${token} has ${logprob}, expected ${wanted}`);
  }
}

gpuTest(
  "score gives log probabilities of a token and of the likeliest, at any vocabulary",
  async () => {
    const rng = new Rng(6);
    for (const vocabulary of [1, 2, 7, 8, 9, 63, 301, 1024, 2500, 32_003]) {
      const rows = Array.from(
        { length: 6 },
        (_, i) => rng.normals(vocabulary, [0, 0.1, 1, 3, 10, 50][i]),
      );
      const wanted = rows.map((_, i) => ({
        sample: 5 - i,
        wanted: rng.integer(vocabulary),
        top: Math.min(vocabulary, [20, 0, 1, 5, 19, 3][i]),
        place: 3 * i + 1,
      }));
      for (const group of [8, 256]) {
        const found = await score(rows, wanted, { group });
        wanted.forEach(({ sample, wanted }, i) => {
          assertEquals(found[i].token, wanted);
          check(rows[sample], found[i], `${vocabulary} tokens, ${group} lanes, row ${sample}`);
        });
      }
    }
  },
);

gpuTest("score lists equal logits by their ids, and takes -0 for 0", async () => {
  const equal = new Float32Array(700).fill(-2);
  const few = new Float32Array(700).fill(-9);
  [699, 13, 264, 21, 277, 8].forEach((id) => few[id] = 4);
  const zeros = Float32Array.from(
    { length: 700 },
    (_, i) => i % 3 === 0 ? -0 : i % 3 === 1 ? 0 : -1,
  );
  const rows = [equal, few, zeros];
  const wanted = rows.map((_, i) => ({ sample: i, wanted: 699, top: 20, place: i }));
  for (const group of [8, 256]) {
    const found = await score(rows, wanted, { group });
    found.forEach((each, i) => check(rows[i], each, `row ${i}`));
    const top = found.map((each) => each.top.map(({ token }) => token));
    assertEquals(top[0], Array.from({ length: 20 }, (_, i) => i));
    assertEquals(top[1].slice(0, 7), [8, 13, 21, 264, 277, 699, 0]);
  }
});

gpuTest("score survives masked, huge and infinite logits", async () => {
  const masked = new Float32Array(90).fill(-Infinity);
  [70, 5, 33].forEach((id, i) => masked[id] = -i);
  const huge = new Float32Array(90).fill(-3e38);
  huge[33] = 3e38;
  const nan = new Rng(9).normals(90, 1);
  nan[20] = NaN;
  const rows = [
    masked,
    huge,
    nan,
    new Float32Array(90).fill(-Infinity),
    new Float32Array(90).fill(NaN),
    nan.map((_, i) => i === 4 ? Infinity : 0),
  ];
  const found = await score(rows, rows.map((_, i) => ({ sample: i, wanted: 5, top: 6, place: i })));
  check(masked, found[0], "masked");
  assertEquals(found[0].top.map(({ token }) => token), [70, 5, 33, 0, 1, 2]);
  assertEquals(found[0].top[3].logprob, -Infinity);
  assertEquals(found[1].top.slice(0, 2), [{ token: 33, logprob: 0 }, {
    token: 0,
    logprob: -Infinity,
  }]);
  assertEquals(found[1].logprob, -Infinity);
  // Not finite: no log probability is a number, and none of them is taken for one.
  for (const i of [2, 3, 4, 5]) assert(Number.isNaN(found[i].logprob), `row ${i}`);
  assert(found[2].top.every(({ token }) => token !== 20));
  assertEquals(found[4].top.map(({ token }) => token), new Array(6).fill(NONE));
});

gpuTest("score lists all of a small vocabulary, whose probabilities add up to 1", async () => {
  for (const vocabulary of [1, 5, 13, 20]) {
    const rows = Array.from(
      { length: 8 },
      (_, i) => new Rng(vocabulary * 8 + i).normals(vocabulary, i),
    );
    const found = await score(
      rows,
      rows.map((_, i) => ({ sample: i, wanted: i % vocabulary, top: 20, place: i })),
    );
    for (const { token, logprob, top } of found) {
      const listed = top.slice(0, vocabulary);
      assertEquals(
        top.slice(vocabulary).map(({ token }) => token),
        new Array(20 - vocabulary).fill(NONE),
      );
      const sum = listed.reduce((total, each) => total + Math.exp(each.logprob), 0);
      assertClose([sum], [1], 1e-5);
      // The same bits wherever a token is listed.
      assertEquals(listed.find((each) => each.token === token)?.logprob, logprob);
      assertEquals(new Set(listed.map((each) => each.token)).size, vocabulary);
    }
  }
});

gpuTest("score takes what was sampled, and gives the same bits in any company", async () => {
  const rng = new Rng(12);
  const rows = Array.from({ length: 20 }, () => rng.normals(1000, 2));
  const chosen = rows.map((_, i) => i * 37);
  const wanted = rows.map((_, i) => ({ sample: i, wanted: SAMPLED, top: i, place: 19 - i }));
  const together = await score(rows, wanted, { chosen });
  assertEquals(together.map(({ token }) => token), chosen);
  const [alone] = await score(rows, [{ ...wanted[17], top: 20, place: 3 }], { chosen });
  assertEquals(together[17], { ...alone, top: alone.top.slice(0, 17) });
  const [named] = await score(rows, [{ ...wanted[17], wanted: chosen[17] }]);
  assertEquals(named, together[17]);
});
