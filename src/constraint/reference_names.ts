/** A reference that the compiler does not follow, and the name under which it finds the schema instead. */
interface Renamed {
  reference: string;
  name: string;
}

/**
 * Names for the schemas that references with escapes lead to (`~1`, `~0`, percent-encoding): the compiler takes the parts of a JSON pointer as
 * they are written, so that it would find nothing, or another schema than is meant.
 */
export class ReferenceNames {
  readonly #root: unknown;
  /** By the reference that stands for it. */
  readonly #renamed = new Map<string, Renamed>();
  readonly #standIns = new Map<string, string>();

  /** @param root the schema whose own `$defs` no name may be of */
  constructor(root: unknown) {
    this.#root = root;
  }

  /** The reference to write for `reference`: itself, where it has no escapes and leads to nothing that may be spelt out in another place. */
  standIn(reference: string): string {
    if (!/[~%]|\/(additional(Properties|Items)|propertyNames|items)(\/|$)/.test(reference)) {
      return reference;
    }
    const known = this.#standIns.get(reference);
    if (known !== undefined) return known;
    const name = this.#free();
    const standIn = `#/$defs/${name}`;
    this.#standIns.set(reference, standIn);
    this.#renamed.set(standIn, { reference, name });
    return standIn;
  }

  /** The reference as the schema has it. */
  original(reference: string): string {
    return this.#renamed.get(reference)?.reference ?? reference;
  }

  /** What was renamed, and what is while the caller goes through it. */
  renamed(): Iterable<Renamed> {
    return this.#renamed.values();
  }

  #free(): string {
    const taken: unknown = (this.#root as { $defs?: unknown } | null)?.$defs;
    let n = this.#renamed.size;
    const used = (name: string) =>
      Object.hasOwn(Object(taken), name) || this.#renamed.has(`#/$defs/${name}`);
    while (used(`escaped.${n}`)) n++;
    return `escaped.${n}`;
  }
}

/** The names that lead along a JSON pointer `#/…`, without their escapes. */
export function pointerParts(reference: string): string[] {
  return reference.slice(2).split("/").map((part) =>
    decode(part).replaceAll("~1", "/").replaceAll("~0", "~")
  );
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
