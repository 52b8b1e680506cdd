import { assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { bindKernel } from "../../src/gpu/kernel_call.ts";
import { PipelineCache } from "../../src/gpu/pipeline_cache.ts";
import { assembleShader } from "../../src/gpu/shader.ts";
import { addShader } from "../support/add_kernel.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();

gpuTest("PipelineCache compiles equal requests once, and others apart", async () => {
  const cache = new PipelineCache(gpu.device);
  const [first, same, other] = await Promise.all([
    cache.get(addShader, "add", { AMOUNT: 1 }),
    cache.get({ ...addShader }, "add", { AMOUNT: 1 }),
    cache.get(addShader, "add", { AMOUNT: 2 }),
  ]);
  assertStrictEquals(first, same);
  assertEquals(first === other, false);
  assertEquals(cache.size, 2);
  assertStrictEquals(first.layout, other.layout);
  assertEquals(first.bindings, [{ binding: 2, name: "words", type: "storage" }]);
});

gpuTest("PipelineCache reads equal code once, whatever the constants", async () => {
  const { device } = gpu;
  const read: string[] = [];
  const plain = device.createShaderModule;
  Object.defineProperty(device, "createShaderModule", {
    configurable: true,
    value: (descriptor: GPUShaderModuleDescriptor) => {
      read.push(descriptor.code);
      return plain.call(device, descriptor);
    },
  });
  try {
    const cache = new PipelineCache(device);
    await Promise.all([1, 2, 3].map((AMOUNT) => cache.get(addShader, "add", { AMOUNT })));
    assertEquals([cache.size, read.length], [3, 1]);
  } finally {
    Reflect.deleteProperty(device, "createShaderModule");
  }
});

gpuTest(
  "PipelineCache names fragment, line and text of a compile error, and forgets the failure",
  async () => {
    const cache = new PipelineCache(gpu.device);
    const broken = assembleShader("broken", [
      { name: "shaders/good.wgsl", source: "const ONE = 1u;\n" },
      {
        name: "shaders/bad.wgsl",
        source: "// first line\n//#for r in 0..2\nconst a_#r = ONE;\n//#end\n\nconst b: f32 = ONE;",
      },
    ]);
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await assertRejects(
        () => cache.get(broken, "add"),
        SyntaxError,
        "compile shader broken: shaders/bad.wgsl:6:",
      );
      assertEquals(error.message.includes("const b: f32 = ONE;"), true, error.message);
      assertEquals(cache.size, 0);
    }
    gpu.check();
  },
);

gpuTest(
  "PipelineCache reports an entry point or a constant that is not there, and forgets the failure",
  async () => {
    const cache = new PipelineCache(gpu.device);
    await assertRejects(
      () => cache.get(addShader, "subtract", { AMOUNT: 1 }),
      SyntaxError,
      "create pipeline add.subtract",
    );
    await assertRejects(() => cache.get(addShader, "add"), SyntaxError, "create pipeline add.add");
    assertEquals(cache.size, 0);
    gpu.check();
  },
);

gpuTest("bindKernel names the buffers that are missing or unknown", async () => {
  const compiled = await gpu.pipelines.get(addShader, "add", { AMOUNT: 1 });
  const buffer = gpu.buffers.storage("words", 64);
  assertThrows(
    () => bindKernel(gpu, compiled, { word: buffer }),
    TypeError,
    "bind add.add: expected buffers words; missing words; unknown word",
  );
  assertThrows(
    () => bindKernel(gpu, compiled, { words: buffer, extra: buffer }),
    TypeError,
    "; unknown extra",
  );
  assertEquals(bindKernel(gpu, compiled, { words: buffer }).label, "add.add");
});
