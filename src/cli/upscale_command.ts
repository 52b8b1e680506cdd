import { sameFile } from "../common/same_file.ts";
import { decodeImage, encodeImage } from "../formats/image.ts";
import { upscaleImage } from "../lut/upscale_image.ts";
import type { Command, CommandContext } from "./command.ts";
import { type Flag, parseFlags } from "./flags.ts";
import { checkInput } from "./check_input.ts";
import { checkOutput } from "./check_output.ts";
import { readScale } from "./read_scale.ts";
import { UsageError } from "./usage_error.ts";

const flags = [
  { name: "scale", kind: "number", value: "N", help: "2, 3 or 4 (default 4)" },
  {
    name: "method",
    kind: "text",
    value: "NAME",
    help: "lut (default, the only one): look-up tables with a small net",
  },
  { name: "two-stage", kind: "switch", help: "Two stages of tables and no net (x4 only)" },
] as const satisfies readonly Flag[];

/** `sparrow upscale`: enlarges one image. */
export const upscaleCommand: Command = {
  usage: "INPUT OUTPUT [FLAGS]",
  about:
    "Enlarges a PNG or JPEG. The output's ending chooses its format; it comes out upright, without colour profile or other metadata.",
  flags,
  examples: ["sparrow upscale photo.jpg big.png --scale 4"],
  endsAtOnce: true,
  run,
};

async function run(args: string[], { report }: CommandContext): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.rest.length !== 2) {
    throw new UsageError(`upscale takes an input and an output file, got ${given.rest.length}`);
  }
  const method = given.method ?? "lut";
  if (method !== "lut") throw new UsageError(`--method is ${method}, expected lut`);
  const [input, output] = given.rest;
  const format = /\.jpe?g$/i.test(output) ? "jpeg" : /\.png$/i.test(output) ? "png" : undefined;
  if (!format) throw new UsageError(`${output} ends in neither .png nor .jpg`);
  const scale = readScale(given.scale);
  if (given["two-stage"] && scale !== 4) {
    throw new UsageError(`--two-stage enlarges by 4 only, got --scale ${scale}`);
  }
  await checkInput(input);
  await checkOutput(output);
  if (await sameFile(input, output)) {
    throw new UsageError(`input ${input} and output ${output} are the same file`);
  }
  const image = decodeImage(await Deno.readFile(input), input);
  const begin = performance.now();
  const big = upscaleImage(image, scale, { model: given["two-stage"] ? "two_stage" : "fusion" });
  const milliseconds = performance.now() - begin;
  await Deno.writeFile(output, encodeImage(big, format));
  report.event(
    "upscale",
    `${output}: ${big.width}x${big.height} in ${milliseconds.toFixed(0)} ms`,
    {
      output,
      width: big.width,
      height: big.height,
      milliseconds,
    },
  );
  return 0;
}
