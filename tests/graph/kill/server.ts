/** A server that is there to be killed: `server.ts PORT STORE`. Its engine is simulated; its text is a function of the prompt. */
import { SimulatedPool } from "../../../src/graph/sim/simulated_pool.ts";
import { createApp } from "../../../src/server/app.ts";
import { fastCost } from "../../server/parrot_support.ts";

const [port, store] = Deno.args;
const pool = new SimulatedPool({ cost: { ...fastCost, overheadMs: 4 }, model: "tiny" });
const app = createApp({ pool, options: { parrotPort: Number(port), store } });
await app.listen();
console.log("ready");
