import type { InputItem } from "./response_input_item.ts";
import type { ResponseObject } from "./responses_schema.ts";

/** A response that is kept. */
export interface StoredResponse {
  response: ResponseObject;
  /** The conversation before it, without instructions. */
  input: readonly InputItem[];
}

interface Entry extends StoredResponse {
  tenant: string;
  characters: number;
}

/** Responses in memory, each for the key that it was made with. Where they have more characters than there is room for, those unused for longest go. */
export class ResponseStore {
  readonly #room: number;
  /** In the order of their latest use. */
  readonly #entries = new Map<string, Entry>();
  /** The responses of each item, several where they go on with one another. */
  readonly #owners = new Map<string, Set<string>>();
  #characters = 0;

  /** Keeps up to `room` characters. */
  constructor(room: number) {
    this.#room = room;
  }

  /** Keeps a response, unless it is larger than all there is room for. */
  put(tenant: string, { response, input }: StoredResponse): void {
    const characters = JSON.stringify([response, input]).length;
    if (characters > this.#room) return;
    const { id, output } = response;
    this.#entries.set(id, { response, input, tenant, characters });
    for (const item of [...input, ...output]) {
      const owners = this.#owners.get(item.id);
      if (owners) owners.add(id);
      else this.#owners.set(item.id, new Set([id]));
    }
    this.#characters += characters;
    for (const oldest of this.#entries.keys()) {
      if (this.#characters <= this.#room) break;
      this.#remove(oldest);
    }
  }

  /** The response of this id, if it is the tenant's. */
  get(tenant: string, id: string): StoredResponse | undefined {
    const entry = this.#entries.get(id);
    if (entry?.tenant !== tenant) return undefined;
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    return entry;
  }

  /** The item of this id of one of the tenant's responses. */
  item(tenant: string, id: string): InputItem | undefined {
    const [owner] = this.#owners.get(id) ?? [];
    const entry = owner === undefined ? undefined : this.get(tenant, owner);
    return entry && [...entry.response.output, ...entry.input].find((item) => item.id === id);
  }

  /** Forgets a response; false when it is none of the tenant's. */
  delete(tenant: string, id: string): boolean {
    if (this.get(tenant, id) === undefined) return false;
    this.#remove(id);
    return true;
  }

  #remove(id: string): void {
    const { response, input, characters } = this.#entries.get(id)!;
    this.#entries.delete(id);
    this.#characters -= characters;
    for (const item of [...input, ...response.output]) {
      const owners = this.#owners.get(item.id);
      if (owners?.delete(id) && owners.size === 0) this.#owners.delete(item.id);
    }
  }
}
