// deno-lint-ignore no-external-import -- built into Deno
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { asError } from "../common/as_error.ts";
import { log } from "../common/log.ts";
import { type Criteria, parseCriteria } from "./criteria.ts";
import type { GraphStore, StoredEntry, StoredSession, StoredValue } from "./graph_store.ts";
import { keptError } from "./kept_error.ts";
import type { RawOutput } from "./node.ts";
import type { Operation } from "./operation.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import type { Session } from "./session.ts";

const VERSION = 2;
/** The columns of each table. */
const ownTables: Record<string, string[]> = {
  session: ["id", "secret", "tenant", "life_span_ms"],
  entry: ["number", "session", "kind", "data"],
  value: ["session", "variable", "value", "error", "raw", "kind"],
  demand: ["session", "variable", "criteria"],
};

// A value may begin with a byte order mark.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Texts as bytes: `node:sqlite` ends a text at its first zero character, though all of it is stored. */
const values = `
SELECT session, variable, raw, kind, CAST(value AS BLOB) AS value, CAST(error AS BLOB) AS error FROM value
`;

const schema = `
CREATE TABLE session (
  id INTEGER PRIMARY KEY, secret TEXT NOT NULL, tenant TEXT NOT NULL, life_span_ms REAL NOT NULL
) STRICT;
CREATE TABLE entry (
  number INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE,
  kind TEXT NOT NULL, data TEXT NOT NULL
) STRICT;
CREATE INDEX entry_session ON entry(session, number);
CREATE TABLE value (
  session INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE, variable TEXT NOT NULL,
  value TEXT NOT NULL, error TEXT, raw TEXT, kind TEXT, PRIMARY KEY (session, variable)
) STRICT;
CREATE TABLE demand (
  session INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE, variable TEXT NOT NULL,
  criteria TEXT NOT NULL, PRIMARY KEY (session, variable)
) STRICT;
`;

/** What makes a store of a version one of the next. */
const migrations = ["ALTER TABLE value ADD COLUMN kind TEXT;"];

/** How a call is kept: `expires` is when its deadline passes, in milliseconds since 1970. */
interface KeptOperation {
  operation: Operation;
  ids: string[];
  expires?: number;
}

/**
 * Keeps sessions in one SQLite file. A write is on its way to the disk when its method returns: it survives the
 * death of the process at once, and a power cut after SQLite's next checkpoint (write-ahead log, `synchronous =
 * NORMAL`, which takes a write from 350 µs to about 30 µs here). The file must not be shared by two servers. Files of older versions are
 * brought up to this one.
 */
export class SqliteStore implements GraphStore {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #now: () => number;
  readonly #insertSession: StatementSync;
  readonly #deleteSession: StatementSync;
  readonly #insertEntry: StatementSync;
  readonly #insertValue: StatementSync;
  readonly #insertDemand: StatementSync;

  /**
   * Opens or makes `path`. Throws, by its name, when it is no store of sessions, is locked, or is of a later version. `now` is the time in
   * milliseconds since 1970.
   */
  constructor(path: string, { now = Date.now }: { now?: () => number } = {}) {
    this.#path = path;
    this.#now = now;
    this.#database = opened(path);
    const prepare = (sql: string) => this.#database.prepare(sql);
    try {
      const version = this.#version();
      this.#database.exec("PRAGMA journal_mode = WAL");
      this.#database.exec("PRAGMA synchronous = NORMAL");
      this.#database.exec("PRAGMA foreign_keys = ON");
      // Held until the file is closed, so that a second server fails at once instead of mixing its writes in.
      this.#database.exec("PRAGMA locking_mode = EXCLUSIVE");
      // A write in any case, so that a file that cannot be written is refused now.
      const tables = version === 0 ? schema : migrations.slice(version - 1).join("");
      this.#database.exec(`BEGIN; ${tables} PRAGMA user_version = ${VERSION}; COMMIT`);
      this.#insertSession = prepare("INSERT INTO session VALUES (?, ?, ?, ?)");
      this.#deleteSession = prepare("DELETE FROM session WHERE id = ?");
      this.#insertEntry = prepare("INSERT INTO entry (session, kind, data) VALUES (?, ?, ?)");
      this.#insertValue = prepare("INSERT OR IGNORE INTO value VALUES (?, ?, ?, ?, ?, ?)");
      this.#insertDemand = prepare("INSERT OR REPLACE INTO demand VALUES (?, ?, ?)");
    } catch (error) {
      this.#database.close();
      throw named(path, error);
    }
  }

  /** Leaves out, with a warning in the log, sessions of which a row is damaged. Throws, by the name of the file, when all of it is. */
  load(): StoredSession[] {
    try {
      return this.#sessions();
    } catch (error) {
      throw named(this.#path, error);
    }
  }

  openSession(session: Session): void {
    this.#insertSession.run(session.id, session.secret, session.tenant, session.lifeSpanMs);
  }

  closeSession(id: number): void {
    this.#deleteSession.run(id);
  }

  createVariable(sessionId: number, { id, name }: SemanticVariable): void {
    this.#insertEntry.run(sessionId, "variable", JSON.stringify({ id, name }));
  }

  set(sessionId: number, variableId: string, value: string): void {
    this.#insertValue.run(sessionId, variableId, value, null, null, null);
  }

  settle(sessionId: number, variable: SemanticVariable, raw: RawOutput | undefined): void {
    const error = variable.error && keptError(variable.error);
    this.#insertValue.run(
      sessionId,
      variable.id,
      variable.state === "ready" ? variable.value : "",
      error?.message ?? null,
      raw ? JSON.stringify(raw) : null,
      error?.kind ?? null,
    );
  }

  submit(sessionId: number, _requestId: number, operation: Operation, ids: string[]): void {
    const { deadlineMs } = operation;
    const kept: KeptOperation = { operation, ids };
    if (deadlineMs !== undefined) kept.expires = this.#now() + deadlineMs;
    this.#insertEntry.run(sessionId, "operation", JSON.stringify(kept));
  }

  demand(sessionId: number, variableId: string, criteria: Criteria): void {
    this.#insertDemand.run(sessionId, variableId, criteria);
  }

  together(writes: () => void): void {
    this.#database.exec("BEGIN");
    try {
      writes();
      this.#database.exec("COMMIT");
    } catch (error) {
      // A full disk ends the transaction by itself.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  /** The version of the store in the file; 0: nothing is in it yet. Throws when there is anything but a store: what belongs to others is left as it is. */
  #version(): number {
    const pragma = (name: string) => Number(this.#rows(`PRAGMA ${name}`)[0][name]);
    const tables = this.#rows("SELECT name FROM sqlite_master WHERE type = 'table'")
      .map((row) => row.name as string);
    const version = pragma("user_version");
    const application = pragma("application_id");
    const others = "a database of something else";
    // A store has none.
    if (application !== 0) throw new TypeError(`${others}, with the application id ${application}`);
    if (tables.length === 0 && version === 0) return 0;
    if (tables.length === 0) {
      throw new TypeError(`${others}, empty and with user_version ${version}`);
    }
    if (!Object.keys(ownTables).every((table) => tables.includes(table))) {
      throw new TypeError(`${others}, with the tables ${tables.join(", ")}`);
    }
    if (version > VERSION) {
      throw new RangeError(
        `store version ${version}, expected at most ${VERSION}: it is of a later version of Sparrow`,
      );
    }
    if (version < 1) {
      throw new RangeError(
        `${others}, or changed by others: user_version ${version}, expected 1 to ${VERSION}`,
      );
    }
    for (const [table, columns] of Object.entries(ownTables)) {
      const met = this.#rows(`PRAGMA table_info(${table})`).map((row) => row.name).join(", ");
      const expected = columns.filter((name) => version > 1 || table !== "value" || name !== "kind")
        .join(", ");
      if (met === expected) continue;
      throw new TypeError(
        `${others}, whose table ${table} has the columns ${met}, expected ${expected}`,
      );
    }
    return version;
  }

  #sessions(): StoredSession[] {
    const sessions = new Map<number, StoredSession>();
    for (const row of this.#rows("SELECT * FROM session")) {
      sessions.set(row.id as number, {
        id: row.id as number,
        secret: row.secret as string,
        tenant: row.tenant as string,
        lifeSpanMs: row.life_span_ms as number,
        entries: [],
        settled: [],
        demands: [],
      });
    }
    const read = (
      sql: string,
      add: (session: StoredSession, row: Record<string, unknown>) => void,
    ) => {
      for (const row of this.#rows(sql)) {
        const id = row.session as number;
        const session = sessions.get(id);
        try {
          if (session) add(session, row);
        } catch (error) {
          sessions.delete(id);
          log("warn", `session ${id} is lost: what the store has of it is damaged`, {
            store: this.#path,
            error: asError(error).message,
          });
        }
      }
    };
    read("SELECT * FROM entry ORDER BY number", ({ entries }, row) => {
      const data = JSON.parse(row.data as string);
      const entry = { kind: row.kind, ...data } as StoredEntry;
      if (entry.kind === "operation") this.#setDeadline(data);
      entries.push(entry);
    });
    read(values, ({ settled }, row) => {
      const value: StoredValue = { id: row.variable as string, value: textOf(row.value) };
      if (row.error !== null) {
        value.error = { message: textOf(row.error), kind: row.kind as string ?? undefined };
      }
      if (row.raw !== null) value.raw = JSON.parse(row.raw as string) as RawOutput;
      settled.push(value);
    });
    read("SELECT * FROM demand", ({ demands }, row) => {
      demands.push({ id: row.variable as string, criteria: parseCriteria(row.criteria) });
    });
    return [...sessions.values()];
  }

  /** What is left of a call's time, less than nothing maybe; never more than it was given, however the clock was set meanwhile. */
  #setDeadline({ operation, expires }: KeptOperation): void {
    const { deadlineMs } = operation;
    if (deadlineMs === undefined || expires === undefined) return;
    operation.deadlineMs = Math.min(deadlineMs, expires - this.#now());
  }

  #rows(sql: string): Record<string, unknown>[] {
    const statement = this.#database.prepare(sql);
    // One that no number holds, as only a damaged row has it, would fail all of them. Session ids reach 2^53 - 1, which numbers hold exactly.
    statement.setReadBigInts(true);
    const rows = statement.all() as Record<string, unknown>[];
    for (const row of rows) {
      for (const [name, value] of Object.entries(row)) {
        if (typeof value === "bigint") row[name] = Number(value);
      }
    }
    return rows;
  }
}

function opened(path: string): DatabaseSync {
  try {
    // A new file is its owner's alone: it holds the secrets of sessions. SQLite gives those beside it the same mode.
    Deno.openSync(path, { create: true, write: true, mode: 0o600 }).close();
    return new DatabaseSync(path);
  } catch (error) {
    throw named(path, error);
  }
}

/** SQLite names no file. */
function named(path: string, error: unknown): Error {
  return new Error(`open the store ${path}: ${asError(error).message}`, { cause: error });
}

function textOf(bytes: unknown): string {
  return decoder.decode(bytes as Uint8Array);
}
