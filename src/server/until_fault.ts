import { z } from "@hono/zod-openapi";

/** Elements that are looked at all, whatever is wrong with the others. */
const few = 100;

/**
 * `whole`, a list or record of `element`, of which nothing after the first element at fault is looked at when it is long: a body has room for
 * millions at fault, which would take seconds, and more words than there is stack for. Of more than `most` elements none is looked at.
 */
export function untilFault<Whole extends z.ZodType>(
  element: z.ZodType,
  whole: Whole,
  most = Infinity,
): z.ZodType<z.output<Whole>, z.input<Whole>> {
  return z.preprocess((value, context) => {
    if (typeof value !== "object" || value === null) return value;
    const names = Array.isArray(value) ? undefined : Object.keys(value);
    const { length } = names ?? value as unknown[];
    if (length <= few) return value;
    if (length > most) {
      const message = `got ${length} elements, expected at most ${most}`;
      context.addIssue({ code: "custom", path: [], message });
      return z.NEVER;
    }
    for (let i = 0; i < length; i++) {
      const key = names?.[i] ?? i;
      const read = element.safeParse((value as Record<PropertyKey, unknown>)[key]);
      if (read.success) continue;
      for (const { path, message } of read.error.issues) {
        context.addIssue({ code: "custom", path: [key, ...path], message });
      }
      return z.NEVER;
    }
    return value;
  }, whole) as unknown as z.ZodType<z.output<Whole>, z.input<Whole>>;
}
