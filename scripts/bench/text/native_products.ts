import { ByteMatrix } from "../../../ffi/byte_matrix.ts";
import { median } from "../../../src/common/math.ts";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import { classifyAdapter } from "../../../src/gpu/adapter_class.ts";
import type { BenchContext } from "../harness.ts";

const DECODE = 64;
const ROUNDS = 5;

/** Prompts and decode with the native library's products and attention, and with shaders alone: on software adapters, where the first is the default. */
export async function nativeProducts(context: BenchContext, model: string): Promise<void> {
  const open = (nativeProducts: boolean) =>
    TextEngine.open({ model, isolate: "process", contextLength: 16384, nativeProducts });
  await using native = await open(true);
  const { device } = native.info;
  const adapter = classifyAdapter({ vendor: "", description: device, device: "" });
  if (!ByteMatrix.pays || adapter !== "software") return;
  await using shaders = await open(false);
  const words = await native.tokenize("It was a bright cold day, and the ship lay at anchor.");
  let salt = 0;
  const run = async (engine: TextEngine, length: number, maxTokens: number) => {
    const ids = Array.from(
      { length },
      (_, i) => i === 0 ? salt++ % 1000 + 3 : words[i * 7 % words.length],
    );
    return (await engine.complete([{ type: "tokens", ids }], { maxTokens, ignoreEos: true })).usage;
  };
  for (const engine of [native, shaders]) await run(engine, 600, 8);
  const compare = async (
    name: string,
    length: number,
    maxTokens: number,
    rate: (usage: Awaited<ReturnType<typeof run>>) => number,
    rounds = ROUNDS,
  ) => {
    const rates: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const [i, engine] of [native, shaders].entries()) {
        rates[i].push(rate(await run(engine, length, maxTokens)));
      }
    }
    const [value, alone] = rates.map(median);
    context.report({
      case: `native_${name}`,
      metric: "tokens_per_s",
      value,
      unit: "tokens/s",
      baseline: `shaders, ${alone.toFixed(1)} tokens/s`,
      ratio: median(rates[0].map((rate, i) => rate / rates[1][i])),
    });
  };
  await compare("prefill_1k", 1024, 1, ({ ttftMs }) => 1024 / ttftMs * 1000);
  await compare("prefill_8k", 8192, 1, ({ ttftMs }) => 8192 / ttftMs * 1000, 2);
  await compare("decode_1", 32, DECODE, ({ decodeMs }) => (DECODE - 1) / decodeMs * 1000);
}
