/** Pages that a sequence no longer needs on the GPU. */
export interface VacantPages {
  slot: number;
  /** Range of the sequence's pages, by their places in its table; it may repeat what was reported before. */
  from: number;
  to: number;
}
