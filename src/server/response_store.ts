import type { ChatMessage } from "../engine/types.ts";
import type { OutputItem, ResponseObject } from "./responses_schema.ts";

/** A response that is kept. */
export interface StoredResponse {
  response: ResponseObject;
  /** The conversation up to it, with it, without instructions. */
  messages: readonly ChatMessage[];
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
  /** The response of each item. */
  readonly #owners = new Map<string, string>();
  #characters = 0;

  /** Keeps up to `room` characters. */
  constructor(room: number) {
    this.#room = room;
  }

  /** Keeps a response, unless it is larger than all there is room for. */
  put(tenant: string, stored: StoredResponse): void {
    const characters = JSON.stringify(stored).length;
    if (characters > this.#room) return;
    const { id, output } = stored.response;
    this.#entries.set(id, { ...stored, tenant, characters });
    for (const item of output) this.#owners.set(item.id, id);
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
  item(tenant: string, id: string): OutputItem | undefined {
    const owner = this.#owners.get(id);
    const entry = owner === undefined ? undefined : this.get(tenant, owner);
    return entry?.response.output.find((item) => item.id === id);
  }

  /** Forgets a response; false when it is none of the tenant's. */
  delete(tenant: string, id: string): boolean {
    if (this.get(tenant, id) === undefined) return false;
    this.#remove(id);
    return true;
  }

  #remove(id: string): void {
    const entry = this.#entries.get(id)!;
    this.#entries.delete(id);
    this.#characters -= entry.characters;
    for (const item of entry.response.output) this.#owners.delete(item.id);
  }
}
