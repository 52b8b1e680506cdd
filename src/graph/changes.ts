import { asError } from "../common/as_error.ts";
import { log } from "../common/log.ts";
import { GraphError } from "./graph_error.ts";
import type { GraphStore } from "./graph_store.ts";
import type { Session } from "./session.ts";

/** A change to a session, which shows no effect yet. */
export interface Change {
  /** Keeps it. */
  keep(store: GraphStore): void;
  /** Lets follow what follows from it, once it is kept. */
  begin(): void;
  /** Takes it back. */
  undo(): void;
}

/** Makes changes that clients ask for: each is kept before it is answered, and those that belong together are made whole or not at all. */
export class Changes {
  readonly #store: GraphStore | undefined;
  #draft: Change[] | undefined;

  constructor(store: GraphStore | undefined) {
    this.#store = store;
  }

  /**
   * Does `work`, and then what follows from the changes that it adds. When it throws, or they cannot be kept (`GraphError`, unavailable), the
   * session is as before. Within another call's work it is part of that.
   */
  atomically<T>(session: Session, work: () => T): T {
    if (this.#draft) return work();
    const draft: Change[] = this.#draft = [];
    let result: T;
    try {
      result = session.charging(() => {
        const made = work();
        this.keep((store) => store.together(() => draft.forEach((change) => change.keep(store))));
        return made;
      });
    } catch (error) {
      for (const change of draft.reverse()) change.undo();
      throw error;
    } finally {
      this.#draft = undefined;
    }
    for (const change of draft) change.begin();
    return result;
  }

  /** Adds a change to the work that is being done. */
  add(change: Change): void {
    this.#draft!.push(change);
  }

  /** Keeps what a client is told next. Throws `GraphError` (unavailable) when that cannot be, as on a full disk. */
  keep(write: (store: GraphStore) => void): void {
    if (!this.#store) return;
    try {
      write(this.#store);
    } catch (error) {
      const message = `The store of sessions cannot be written: ${asError(error).message}`;
      log("error", message);
      throw new GraphError("unavailable", message);
    }
  }
}
