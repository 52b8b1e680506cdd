/** Scheduling policy. */
export interface SchedulerOptions {
  /** Requests that may wait; one more is refused with `CapacityError`, unless others have most of these places (`mayWait`). Default 256. */
  maxWaiting: number;
  /**
   * Tokens of a step while latency work decodes, so that a long prompt does not stall running streams; twice as many while only throughput
   * work does. Half of them are for prompts, however many rows decode. Default: what the runner says, else 128.
   */
  mixedStepTokens?: number;
  /** Rows that decode while latency work is resident; throughput work fills what it leaves, at least one row. Default: no limit. */
  latencyRows: number;
  /** Milliseconds after which a waiting request is overdue. Default 5,000. */
  patienceMs: number;
  /** One admission in so many goes to the oldest overdue request. Default 8. */
  overdueShare: number;
}

/** Defaults of `SchedulerOptions`. */
export const schedulerDefaults: Readonly<SchedulerOptions> = {
  maxWaiting: 256,
  latencyRows: Number.MAX_SAFE_INTEGER,
  patienceMs: 5000,
  overdueShare: 8,
};
