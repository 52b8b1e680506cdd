/** The command line is wrong: exit code 2, and a pointer to `--help` instead of a stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
