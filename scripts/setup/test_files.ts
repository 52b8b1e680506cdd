import { listFiles } from "./list_files.ts";

/** Every test file, as paths in the project. */
export async function testFiles(): Promise<string[]> {
  // Helpers may end like tests ("model_under_test.ts").
  const isTest = (path: string) => path.endsWith("_test.ts") && !path.startsWith("tests/support/");
  return (await listFiles("tests", ["ts"])).filter(isTest);
}
