import { ApiError } from "./api_error.ts";

/** Objects and arrays inside one another at most: templates, schemas and JSON go through them by recursion. */
const mostLevels = 100;

/** Throws `ApiError` 400, naming `param`, for a value of JSON that is nested too deep. */
export function checkDepth(value: unknown, param: string): void {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > mostLevels) {
      throw ApiError.invalid(`${param}: nested more than ${mostLevels} levels deep`, param);
    }
    level = level.flatMap((one) =>
      typeof one === "object" && one !== null ? Object.values(one) : []
    );
  }
}
