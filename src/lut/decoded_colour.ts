import type { VideoColour, VideoProbe } from "./probe_video.ts";
import type { ChromaSiting } from "./video_frame.ts";

/** Chroma that is halved on the way goes where players look for it: left to itself ffmpeg 5 puts it in the middle. */
const leftChroma = "out_h_chr_pos=0";

/**
 * How a stream becomes 4:2:0 of 8 bits: ffmpeg's filters, the tags that are true of the result, and where its chroma lies. Left to itself
 * ffmpeg squeezes full range to studio range on the way, whatever the tag says.
 */
export function decodedColour(
  { pixels, colour }: Pick<VideoProbe, "pixels" | "colour">,
): { filters: string; colour: VideoColour; siting: ChromaSiting } {
  if (/rgb|bgr|gbr|^pal8$/.test(pixels)) {
    // Only here does the matrix change; "gbr" is none that a 4:2:0 stream could have.
    return {
      filters: `scale=out_color_matrix=bt709:out_range=tv:${leftChroma},format=yuv420p`,
      colour: { ...colour, range: "tv", space: "bt709", siting: undefined },
      siting: "left",
    };
  }
  const whole = /444/.test(pixels);
  // ffmpeg takes grey for full range always: to keep the samples is to ask for full range.
  const grey = /^(gray|ya|mono)/.test(pixels);
  const full = colour.range === "pc" || pixels.startsWith("yuvj");
  const options = [
    ...(grey || full ? ["out_range=pc"] : []),
    ...(whole ? [leftChroma] : []),
  ];
  const siting = whole || grey ? undefined : colour.siting;
  return {
    filters: `${options.length > 0 ? `scale=${options.join(":")},` : ""}format=yuv420p`,
    colour: grey || full
      ? {
        ...colour,
        space: colour.space === "gbr" ? undefined : colour.space,
        range: full ? "pc" : colour.range ?? "pc",
        siting,
      }
      : { ...colour, siting },
    // What codecs mean that say nothing.
    siting: siting === "center" ? "centre" : siting === "topleft" ? "topleft" : "left",
  };
}
