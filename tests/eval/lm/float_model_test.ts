import { assert, assertThrows } from "@std/assert";
import { GgufFile } from "../../../src/formats/gguf.ts";
import { readNpy } from "../../../src/formats/npy.ts";
import { FloatModel } from "../../../scripts/eval/lm/float_model.ts";

const folder = new URL("../../golden/models/", import.meta.url).pathname;

for (const quantisation of ["f32", "q8_0"]) {
  Deno.test(`FloatModel gives the golden logits of tiny_arcee_${quantisation}`, () => {
    using file = GgufFile.open(`${folder}tiny_arcee_${quantisation}.gguf`);
    const { prompt } = JSON.parse(Deno.readTextFileSync(`${folder}prompt.json`));
    let layers = 0;
    const states = new FloatModel(file).run(prompt, () => layers++);
    const expected = readNpy(`${folder}tiny_arcee_${quantisation}.logits.npy`).data as Float32Array;
    const embedding = file.tensor("token_embd.weight");
    const [width, vocabulary] = embedding.shape;
    const weights = file.readFloats(embedding);
    let worst = 0;
    for (let token = 0; token < prompt.length; token++) {
      for (let id = 0; id < vocabulary; id++) {
        let logit = 0;
        for (let i = 0; i < width; i++) {
          logit += states[token * width + i] * weights[id * width + i];
        }
        worst = Math.max(worst, Math.abs(logit - expected[token * vocabulary + id]));
      }
    }
    assert(layers === 2 && worst < 2e-4, `worst logit off by ${worst}`);
  });
}

Deno.test("FloatModel refuses another architecture", () => {
  using file = GgufFile.open(`${folder}tiny_llama_f32.gguf`);
  assertThrows(() => new FloatModel(file), TypeError, "expected arcee");
});
