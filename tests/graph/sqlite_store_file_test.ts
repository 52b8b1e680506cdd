// deno-lint-ignore no-external-import -- built into Deno
import { DatabaseSync } from "node:sqlite";
import { assertEquals, assertThrows } from "@std/assert";
import { GraphError } from "../../src/graph/graph_error.ts";
import { SqliteStore } from "../../src/graph/sqlite_store.ts";
import { openWorld, withFile } from "./support.ts";

Deno.test("SqliteStore leaves another application's database as it is, and names a damaged file", async () => {
  await withFile((path) => {
    const change = (sql: string) => {
      const database = new DatabaseSync(path);
      database.exec(sql);
      const rows = database.prepare("SELECT name FROM sqlite_master").all();
      database.close();
      return rows.length;
    };
    const refused = (words: string) =>
      assertThrows(() => new SqliteStore(path).load(), Error, `open the store ${path}: ${words}`);
    change("CREATE TABLE session (theirs TEXT)");
    refused("a database of something else, with the tables session");
    assertEquals(change("DROP TABLE session"), 0);
    change("PRAGMA user_version = 7");
    refused("a database of something else, empty and with user_version 7");
    change("PRAGMA user_version = 0; PRAGMA application_id = 7");
    refused("a database of something else, with the application id 7");
    change("PRAGMA application_id = 0");
    new SqliteStore(path).close();
    Deno.removeSync(path);
    new SqliteStore(path).close();
    if (Deno.build.os !== "windows") assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    change("PRAGMA user_version = 7");
    refused("store version 7, expected at most 2: it is of a later version of Sparrow");
    for (const version of [0, -1]) {
      change(`PRAGMA user_version = ${version}`);
      refused(
        `a database of something else, or changed by others: user_version ${version}, expected 1 to 2`,
      );
    }
    const own = "a database of something else, whose table value has the columns ";
    const columns = "session, variable, value, error, raw";
    change("PRAGMA user_version = 1");
    refused(`${own}${columns}, kind, expected ${columns}`);
    change("PRAGMA user_version = 2; ALTER TABLE value RENAME COLUMN error TO fault");
    refused(`${own}session, variable, value, fault, raw, kind, expected ${columns}, kind`);
    change("ALTER TABLE value RENAME COLUMN fault TO error");
    new SqliteStore(path).close();
    // The first page is all that opening it reads of a table.
    const file = Deno.openSync(path, { write: true });
    file.seekSync(4096, Deno.SeekMode.Start);
    for (let page = 1; page < 9; page++) file.writeSync(new Uint8Array(4096).fill(255));
    file.close();
    refused("database disk image is malformed");
    return Promise.resolve();
  });
});

Deno.test("SqliteStore: a damaged row costs its session, and no other, and a warning", async () => {
  const damages = [
    `UPDATE entry SET data = '{"id":' WHERE session = ?`,
    "UPDATE entry SET data = 'null' WHERE session = ?",
    "UPDATE entry SET data = '{}' WHERE session = ?",
    `UPDATE entry SET data = '{"operation":{"kind":"call"},"ids":[]}', kind = 'operation' WHERE session = ?`,
    "UPDATE entry SET kind = 'wreck' WHERE session = ?",
    "UPDATE value SET raw = '{' WHERE session = ?",
    "INSERT INTO demand VALUES (?, 'v', 'now')",
  ];
  // What belongs to no session is of no consequence.
  const strays = [
    "INSERT INTO session VALUES (9223372036854775807, '', '', 1)",
    "INSERT INTO entry VALUES (9223372036854775807, 9223372036854775807, 'variable', '{')",
    "PRAGMA foreign_keys = OFF; INSERT INTO value VALUES (5, 'v', 'x', NULL, '{', NULL)",
  ];
  await withFile(async (path) => {
    const ids: number[] = [];
    {
      await using world = openWorld({}, { store: new SqliteStore(path) });
      for (let i = 0; i <= damages.length; i++) {
        const session = world.graph.openSession();
        world.graph.createVariable(session, "v", "kept");
        ids.push(session.id);
      }
    }
    const database = new DatabaseSync(path);
    damages.forEach((sql, i) => assertEquals(database.prepare(sql).run(ids[i]).changes, 1, sql));
    for (const sql of strays) database.exec(sql);
    database.close();
    const lines: string[] = [];
    const { error } = console;
    console.error = (line: string) => lines.push(line);
    try {
      await using world = openWorld({}, { store: new SqliteStore(path) });
      const { graph, session } = world;
      ids.slice(0, -1).forEach((id, i) =>
        assertThrows(() => graph.session(id), GraphError, "not found", damages[i])
      );
      const [variable] = graph.session(ids.at(-1)!).variables.values();
      assertEquals(variable.value, "kept");
      graph.createVariable(session, "w", "new");
    } finally {
      console.error = error;
    }
    for (const id of ids.slice(0, -1)) {
      assertEquals(lines.filter((line) => line.includes(`session ${id} `)).length, 1, lines.join());
    }
  });
});

Deno.test("SqliteStore refuses a file of another kind, and one that is in use", async () => {
  await withFile(async (path) => {
    await Deno.writeTextFile(
      path,
      "this is no database, but long enough to be read as one".repeat(20),
    );
    const named = `open the store ${path}: `;
    assertThrows(() => new SqliteStore(path), Error, `${named}file is not a database`);
    assertThrows(() => new SqliteStore("/nowhere/store"), Error, "open the store /nowhere/store: ");
    await Deno.remove(path);
    const store = new SqliteStore(path);
    store.load();
    assertThrows(() => new SqliteStore(path), Error, `${named}database is locked`);
    store.close();
  });
});
