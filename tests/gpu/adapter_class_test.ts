import { assertEquals } from "@std/assert";
import { classifyAdapter } from "../../src/gpu/adapter_class.ts";

Deno.test("classifyAdapter tells software, integrated and discrete adapters apart", () => {
  const named = (vendor: string, description: string, device = "0") =>
    classifyAdapter({ vendor, description, device });
  assertEquals(named("65541", "llvmpipe (LLVM 15.0.6, 256 bits)"), "software");
  assertEquals(named("0x10005", ""), "software");
  assertEquals(named("6880", "SwiftShader Device (Subzero)"), "software");
  assertEquals(named("5140", "Microsoft Basic Render Driver"), "software");
  assertEquals(named("4318", "NVIDIA H100 80GB HBM3"), "discrete");
  assertEquals(named("4098", "AMD Radeon RX 7900 XTX (RADV NAVI31)"), "discrete");
  assertEquals(named("32902", "Intel(R) Arc(TM) A770 Graphics"), "discrete");
  assertEquals(named("32902", "Intel(R) UHD Graphics 770"), "integrated");
  assertEquals(named("4203", ""), "integrated");
  assertEquals(named("apple", "", "Apple M3 Max"), "integrated");
});
