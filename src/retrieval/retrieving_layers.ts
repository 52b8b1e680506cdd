import { layerWindow } from "../model/config.ts";
import type { Transformer } from "../model/transformer.ts";

/** The layers that see all of the context: others read no more of it than their sliding window, which stays on the GPU. */
export function retrievingLayers({ config }: Transformer): number[] {
  return Array.from({ length: config.layers }, (_, layer) => layer)
    .filter((layer) => layerWindow(config, layer) === undefined);
}
