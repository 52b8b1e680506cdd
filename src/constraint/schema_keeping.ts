/**
 * How much of a schema is kept. `all`: what the automaton cannot keep is refused. `most`: it is left out. `shape`: patterns and formats are left out,
 * too. `type`: only the type of the whole is kept. Each allows all texts that the ones before it allow.
 */
export type SchemaKeeping = "all" | "most" | "shape" | "type";
