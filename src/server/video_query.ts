import type { LutScale } from "../lut/model_file.ts";
import { qualities, type Quality } from "../lut/quality_ladder.ts";
import { ApiError } from "./api_error.ts";

/** How a request wants its video. */
export interface VideoQuery {
  scale: LutScale;
  quality: Quality;
  budgetMs: number | undefined;
}

/** Reads `scale`, `quality` and `budget_ms`. Throws `ApiError` naming the parameter. */
export function readVideoQuery(query: Record<string, string | undefined>): VideoQuery {
  const scale = Number(query.scale ?? 4);
  if (scale !== 2 && scale !== 3 && scale !== 4) {
    throw ApiError.invalid(`scale is ${query.scale}, expected 2, 3 or 4`, "scale");
  }
  const quality = query.quality ?? "full";
  if (!qualities.includes(quality as Quality)) {
    throw ApiError.invalid(`quality is ${quality}, expected ${qualities.join(", ")}`, "quality");
  }
  const budgetMs = query.budget_ms === undefined ? undefined : Number(query.budget_ms);
  if (budgetMs !== undefined && !(budgetMs > 0)) {
    throw ApiError.invalid(`budget_ms is ${query.budget_ms}, expected more than 0`, "budget_ms");
  }
  return { scale, quality: quality as Quality, budgetMs };
}
