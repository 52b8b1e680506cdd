import type { Bench } from "./harness.ts";
import { damagedRows } from "./video/damaged.ts";
import { speedRows } from "./video/speed.ts";
import { stillRows } from "./video/still.ts";

/** Look-up-table video: speed, Set5, and held-out clips at a ladder of bitrates (those need `--data` and ffmpeg). */
export const bench: Bench = {
  name: "video",
  summary: "Look-up-table video: frames a second, and quality on Set5 and damaged clips",
  async run(context) {
    await speedRows(context);
    if (context.data === undefined) {
      context.note("video: quality rows need --data DIR");
      return;
    }
    await stillRows(context, context.data);
    await damagedRows(context, context.data);
  },
};
