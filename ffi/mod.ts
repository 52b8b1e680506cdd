/** The native library's classes. @module */

export { kernelsIsa } from "./kernels_isa.ts";
export { loadNative, nativeProblem } from "./load.ts";
