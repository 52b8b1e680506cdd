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

/** Responses in memory, each for the key that it was made with. Where they have more characters than there is room for, those unused for longest go of the key that has most: nobody can make the server forget others'. */
export class ResponseStore {
  readonly #room: number;
  /** In the order of their latest use. */
  readonly #entries = new Map<string, Entry>();
  /** The responses of each item, several where they go on with one another. */
  readonly #owners = new Map<string, Set<string>>();
  #characters = 0;
  /** Characters of each tenant's. */
  readonly #held = new Map<string, number>();

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
    this.#held.set(tenant, this.#heldBy(tenant) + characters);
    while (this.#characters > this.#room) this.#remove(this.#next());
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

  /** The one to go first. */
  #next(): string {
    let most = "";
    for (const tenant of this.#held.keys()) {
      if (this.#heldBy(tenant) > this.#heldBy(most)) most = tenant;
    }
    for (const [id, { tenant }] of this.#entries) if (tenant === most) return id;
    throw new RangeError(`no response of the key that holds ${this.#heldBy(most)} characters`);
  }

  #heldBy(tenant: string): number {
    return this.#held.get(tenant) ?? 0;
  }

  #remove(id: string): void {
    const { response, input, characters, tenant } = this.#entries.get(id)!;
    this.#held.set(tenant, this.#heldBy(tenant) - characters);
    this.#entries.delete(id);
    this.#characters -= characters;
    for (const item of [...input, ...response.output]) {
      const owners = this.#owners.get(item.id);
      if (owners?.delete(id) && owners.size === 0) this.#owners.delete(item.id);
    }
  }
}
