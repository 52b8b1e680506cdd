/** A JSON schema (draft 2020-12). */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/**
 * What a generated text must be. Every token is chosen so that the text stays the beginning of one that is allowed, and the generation
 * can end of itself only where it is one: a text that ends with reason `stop` is whole, one cut by `maxTokens` (`length`) or by a stop
 * string may not be.
 */
export type TextConstraint =
  /** Any JSON object. */
  | { kind: "json_object" }
  /**
   * JSON that a schema describes, properties in the schema's order. Keywords that cannot be kept are refused; if `loose`, they are ignored, so that
   * a text may break those.
   */
  | { kind: "json_schema"; schema: JsonSchema; loose?: boolean }
  /**
   * A text that a regular expression matches as a whole, in Rust's syntax without look-around and back-references; `\d` and `\w` are ASCII.
   */
  | { kind: "regex"; pattern: string }
  /** One of these texts. */
  | { kind: "choice"; choices: readonly string[] }
  /** A context-free grammar in the notation of Lark, with a rule `start`, as llguidance reads it. */
  | { kind: "grammar"; grammar: string };
