import { qa, variableTracking } from "./chain_tasks.ts";
import { everyday } from "./everyday.ts";
import { commonWords, frequentWords, keyValue } from "./list_tasks.ts";
import { multiKey, multiQuery, multiValue, passkey, singleNeedle } from "./needle_tasks.ts";
import type { TaskFamily } from "./task.ts";

/** Every family under the name it has in rows. */
export const families: Record<string, TaskFamily> = {
  single_needle: singleNeedle,
  multi_key: multiKey,
  multi_value: multiValue,
  multi_query: multiQuery,
  variable_tracking: variableTracking,
  common_words: commonWords,
  frequent_words: frequentWords,
  key_value: keyValue,
  passkey,
  qa,
  everyday,
};
