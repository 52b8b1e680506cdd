import { listFiles } from "./list_files.ts";

/** Every test file, as paths in the project. */
export async function testFiles(): Promise<string[]> {
  return (await listFiles("tests", ["ts"])).filter((path) => path.endsWith("_test.ts"));
}
