/** Token id that stands for "what this slot sampled last": shaders/lib/step.wgsl. */
export const LAST_SAMPLED = 0xffffffff;
