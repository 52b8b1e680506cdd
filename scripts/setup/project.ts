import { fromFileUrl, join } from "@std/path";

/** The project's root folder, whatever the working directory. */
export const root: string = fromFileUrl(new URL("../../", import.meta.url));

/** A path inside the project. */
export function inProject(...parts: string[]): string {
  return join(root, ...parts);
}
