/** The `.wgsl` files of `shaders/image` that this folder uses, as fragments. @module */

import type { ShaderFragment } from "../gpu/shader.ts";
import convolveBytes from "../../shaders/image/convolve_bytes.wgsl" with { type: "text" };
import lutFuse from "../../shaders/image/lut_fuse.wgsl" with { type: "text" };
import lutGather from "../../shaders/image/lut_gather.wgsl" with { type: "text" };
import lutSimplex from "../../shaders/image/lut_simplex.wgsl" with { type: "text" };
import lutStage from "../../shaders/image/lut_stage.wgsl" with { type: "text" };

const fragment = (name: string, source: string): ShaderFragment => ({ name, source });

/** Fragments by file stem. */
export const lutShaders = {
  convolveBytes: fragment("image/convolve_bytes", convolveBytes),
  fuse: fragment("image/lut_fuse", lutFuse),
  gather: fragment("image/lut_gather", lutGather),
  simplex: fragment("image/lut_simplex", lutSimplex),
  stage: fragment("image/lut_stage", lutStage),
} as const;
