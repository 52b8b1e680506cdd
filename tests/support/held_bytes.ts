// deno-lint-ignore no-external-import -- built into Deno, which shows no collector otherwise
import v8 from "node:v8";
// deno-lint-ignore no-external-import -- as above
import vm from "node:vm";

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc") as () => void;

/** Bytes of this isolate's heap that something holds: what is left after a collection. */
export function heldBytes(): number {
  collect();
  return Deno.memoryUsage().heapUsed;
}
