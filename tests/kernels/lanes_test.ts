import { assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { bindKernel } from "../../src/gpu/kernel_call.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { assembleShader } from "../../src/gpu/shader.ts";
import { lanes } from "../../src/kernels/lanes.ts";
import { shaderFragments } from "../../src/kernels/shader_files.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const source = `
@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(8)
fn exchange(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  lane_id = local.x;
  let own = group_id.x * 8u + lane_id;
  let value = values[own];
  var picked = vec4<f32>(0.0);
  for (var lane = 0u; lane < 8u; lane++) {
    picked = picked * 1.5 + lane_pick4(value, lane);
  }
  results[2u * own] = picked;
  results[2u * own + 1u] = vec4<f32>(lane_sum(value.x), lane_max(value.y), f32(lane_pick(own * 3u, 5u)), 0.0);
}`;

gpuTest("lanes exchange the same bits through subgroups and through workgroup memory", async () => {
  const groups = 5;
  const values = new Rng(1).normals(groups * 32, 3);
  const results: Float32Array[] = [];
  for (const subgroups of [true, false]) {
    using gpu = await Gpu.open({ subgroups });
    const shader = assembleShader("exchange", [
      ...shaderFragments(lanes(gpu)),
      { name: "exchange.wgsl", source },
    ]);
    const output = gpu.buffers.storage("results", groups * 8 * 32);
    const call = bindKernel(gpu, await gpu.pipelines.get(shader, "exchange"), {
      values: gpu.buffers.upload("values", values),
      results: output,
    });
    const pass = new StepPass(gpu);
    pass.dispatch(call, [groups]);
    pass.submit();
    results.push(new Float32Array(await readBuffer(gpu, output)));
  }
  assertEquals(results[1], results[0]);
  for (let group = 0; group < groups; group++) {
    const column = (c: number) =>
      Array.from({ length: 8 }, (_, i) => values[(group * 8 + i) * 4 + c]);
    const [x, y] = [column(0), column(1)].map((c) => c.map(Math.fround));
    // The tree of sums by hand: neighbours 4, 2 and 1 apart.
    const add = (a: number, b: number) => Math.fround(a + b);
    const fours = [0, 1, 2, 3].map((i) => add(x[i], x[i + 4]));
    const sum = add(add(fours[0], fours[2]), add(fours[1], fours[3]));
    for (let lane = 0; lane < 8; lane++) {
      const at = (group * 8 + lane) * 8 + 4;
      assertEquals([...results[0].subarray(at, at + 3)], [
        sum,
        Math.max(...y),
        (group * 8 + 5) * 3,
      ]);
    }
  }
});
