import type { Gpu } from "./gpu.ts";

/**
 * Reads a buffer back the documented, slow way (about 11 ms on Deno 2.9): for tests, tools and loading. Steps use `Readback`.
 *
 * @param bytes how many, a multiple of 4; default to the end
 */
export async function readBuffer(
  gpu: Gpu,
  buffer: GPUBuffer,
  offset = 0,
  bytes = buffer.size - offset,
): Promise<ArrayBuffer> {
  const staging = gpu.buffers.staging("read", bytes);
  try {
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
    gpu.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const copy = staging.getMappedRange().slice(0, bytes);
    staging.unmap();
    gpu.check();
    return copy;
  } finally {
    gpu.buffers.destroy(staging);
  }
}
