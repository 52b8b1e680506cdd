/**
 * Packs run-time numbers into a WGSL uniform struct whose layout is read from the shader text itself, so that the two cannot
 * drift apart.
 */
export class UniformStruct {
  readonly #fields: { name: string; type: "u32" | "i32" | "f32"; offset: number }[];
  /** Size in bytes, a multiple of 16. */
  readonly byteLength: number;

  /**
   * @param source WGSL holding `struct <name> { field: u32|i32|f32, … }`; only scalars, so that offsets are plain
   * @throws {SyntaxError} when the struct is missing or has a field that is not a scalar.
   */
  constructor(source: string, name: string) {
    const body = new RegExp(`struct\\s+${name}\\s*\\{([^}]*)\\}`).exec(source)?.[1];
    if (body === undefined) {
      throw new SyntaxError(`read uniform struct ${name}: not found in the shader`);
    }
    const declarations = body.replace(/\/\/.*$/gm, "").split(",").map((text) => text.trim()).filter(
      (text) => text !== "",
    );
    this.#fields = declarations.map((text, index) => {
      const match = /^(\w+)\s*:\s*(u32|i32|f32)$/.exec(text);
      if (!match) {
        throw new SyntaxError(
          `read uniform struct ${name}: field "${text}" is not a u32, i32 or f32`,
        );
      }
      return { name: match[1], type: match[2] as "u32" | "i32" | "f32", offset: index * 4 };
    });
    this.byteLength = Math.ceil(this.#fields.length / 4) * 16;
  }

  /**
   * @throws {TypeError} when a field is missing or unknown.
   * @throws {RangeError} when a value does not fit its type.
   */
  pack(values: Readonly<Record<string, number>>): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.byteLength);
    const view = new DataView(bytes.buffer);
    for (const name of Object.keys(values)) {
      if (!this.#fields.some((field) => field.name === name)) {
        throw new TypeError(
          `pack uniform: the shader has no field ${name}, it has ${
            this.#fields.map((f) => f.name).join(", ")
          }`,
        );
      }
    }
    for (const { name, type, offset } of this.#fields) {
      const value = values[name];
      if (value === undefined) throw new TypeError(`pack uniform: field ${name} is missing`);
      if (type === "f32") {
        view.setFloat32(offset, value, true);
        continue;
      }
      const [low, high] = type === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
      if (!Number.isInteger(value) || value < low || value > high) {
        throw new RangeError(`pack uniform: field ${name} is ${value}, expected a ${type}`);
      }
      if (type === "u32") view.setUint32(offset, value, true);
      else view.setInt32(offset, value, true);
    }
    return bytes;
  }
}
