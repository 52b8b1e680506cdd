import { assertEquals } from "@std/assert";
import { fastByteProducts } from "../../src/gpu/fast_byte_products.ts";

Deno.test("fastByteProducts is true of NVIDIA's adapters alone", () => {
  // As Deno writes vendors: NVIDIA, Mesa's llvmpipe, AMD, Intel, Apple; and what is no number.
  const vendors = ["4318", "65541", "4098", "32902", "4203", "", "nvidia"];
  assertEquals(vendors.map(fastByteProducts), vendors.map((vendor) => vendor === "4318"));
});
