/** What a check found: nothing wrong when `problems` is empty. */
export interface CheckResult {
  /** A few words for the line of a passed check, such as "212 files". */
  summary: string;
  /** One entry for each thing to mend, starting with `path:line` where there is one. */
  problems: string[];
}

/** A named check of the whole project. */
export interface Check {
  name: string;
  run: () => Promise<CheckResult>;
}
