/** PCI vendor. */
const nvidiaVendor = 0x10de;

/**
 * Whether `dot4I8Packed` is known to be faster on an adapter of this vendor than four multiplications: on NVIDIA's, where it was measured. Elsewhere it may
 * be an instruction or many, which WebGPU does not tell.
 */
export function fastByteProducts(vendor: string): boolean {
  return Number(vendor) === nvidiaVendor;
}
