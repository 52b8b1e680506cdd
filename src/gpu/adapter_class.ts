/**
 * What kind of machine the kernels run on. Tile shapes are chosen per class, since what is fast differs:
 * a CPU pretending to be a GPU wants register tiles in one subgroup, a discrete GPU wants many workgroups.
 */
export type AdapterClass = "software" | "integrated" | "discrete";

/** PCI vendor of Mesa's software rasterizers as Vulkan reports it (VK_VENDOR_ID_MESA). */
const mesaVendor = 0x10005;
const intelVendor = 0x8086;
const appleVendor = 0x106b;

/** Classifies an adapter from what WebGPU tells about it. `device` may be empty (Deno leaves it "0"). */
export function classifyAdapter(
  info: { vendor: string; description: string; device: string },
): AdapterClass {
  const vendor = Number(info.vendor);
  const text = `${info.vendor} ${info.description} ${info.device}`.toLowerCase();
  if (vendor === mesaVendor || /llvmpipe|lavapipe|swiftshader|software|basic render/.test(text)) {
    return "software";
  }
  if (/\barc\b/.test(text)) return "discrete";
  if (
    vendor === intelVendor || vendor === appleVendor ||
    /integrated|intel|apple|adreno|mali/.test(text)
  ) {
    return "integrated";
  }
  return "discrete";
}
