import type { VideoColour, VideoProbe } from "./probe_video.ts";

/**
 * How a stream becomes 4:2:0 of 8 bits: ffmpeg's filters, and the tags that are true of the result. Left to itself ffmpeg squeezes
 * full range to studio range on the way, whatever the tag says.
 */
export function decodedColour(
  { pixels, colour }: Pick<VideoProbe, "pixels" | "colour">,
): { filters: string; colour: VideoColour } {
  if (/rgb|bgr|gbr|^pal8$/.test(pixels)) {
    // Only here does the matrix change; "gbr" is none that a 4:2:0 stream could have.
    return {
      filters: "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p",
      colour: { ...colour, range: "tv", space: "bt709" },
    };
  }
  // ffmpeg takes grey for full range always: to keep the samples is to ask for full range.
  const grey = /^(gray|ya|mono)/.test(pixels);
  const full = colour.range === "pc" || pixels.startsWith("yuvj");
  if (!grey && !full) return { filters: "format=yuv420p", colour };
  const space = colour.space === "gbr" ? undefined : colour.space;
  return {
    filters: "scale=out_range=pc,format=yuv420p",
    colour: { ...colour, space, range: full ? "pc" : colour.range ?? "pc" },
  };
}
