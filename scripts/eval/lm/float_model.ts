import type { GgufFile } from "../../../src/formats/gguf.ts";

/** Row-major weights of `rows` outputs and `columns` inputs. */
interface Matrix {
  rows: number;
  columns: number;
  values: Float32Array;
}

/** What a layer shows of itself; arrays are valid during the call only. */
export interface LayerView {
  layer: number;
  /** Rotated queries `[tokens, heads, headDim]`. */
  queries: Float32Array;
  /** Rotated keys and values `[tokens, kvHeads, headDim]`. */
  keys: Float32Array;
  values: Float32Array;
  /** Feed-forward activations before the down projection, `[tokens, hidden]`. */
  hidden: Float32Array;
}

/** Tokens whose rows of a matrix product are computed together: the weights are then read once for all of them. */
const BLOCK = 4;

/**
 * An arcee model run on the CPU in f32, layer by layer over a whole text, for looking inside: it shows every layer's
 * queries, keys, values and activations. The engine is what answers; this only measures.
 */
export class FloatModel {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly hidden: number;
  readonly #file: GgufFile;
  readonly #width: number;
  readonly #ropeBase: number;
  readonly #epsilon: number;

  /** Throws `TypeError` for an architecture other than arcee. `file` stays the caller's, and open. */
  constructor(file: GgufFile) {
    const { metadata } = file;
    const architecture = metadata.string("general.architecture");
    if (architecture !== "arcee") {
      throw new TypeError(`${file.name}: architecture is ${architecture}, expected arcee`);
    }
    const integer = (key: string) => metadata.integer(`arcee.${key}`, 1, 1 << 24);
    this.#file = file;
    this.layers = integer("block_count");
    this.heads = integer("attention.head_count");
    this.kvHeads = integer("attention.head_count_kv");
    this.headDim = integer("attention.key_length");
    this.hidden = integer("feed_forward_length");
    this.#width = integer("embedding_length");
    this.#ropeBase = metadata.number("arcee.rope.freq_base");
    this.#epsilon = metadata.number("arcee.attention.layer_norm_rms_epsilon");
  }

  /** Runs `ids`, calls `look` once a layer, in order, and returns the final normalised states `[tokens, width]`. */
  run(ids: readonly number[], look: (view: LayerView) => void): Float32Array {
    const embedding = this.#matrix("token_embd.weight");
    const states = new Float32Array(ids.length * this.#width);
    ids.forEach((id, row) =>
      states.set(
        embedding.values.subarray(id * this.#width, (id + 1) * this.#width),
        row * this.#width,
      )
    );
    for (let layer = 0; layer < this.layers; layer++) {
      const name = (part: string) => `blk.${layer}.${part}.weight`;
      const normed = this.#norm(states, name("attn_norm"));
      const queries = multiply(this.#matrix(name("attn_q")), normed);
      const keys = multiply(this.#matrix(name("attn_k")), normed);
      const values = multiply(this.#matrix(name("attn_v")), normed);
      this.#rotate(queries, this.heads);
      this.#rotate(keys, this.kvHeads);
      const mixed = this.#attend(queries, keys, values, ids.length);
      addInto(states, multiply(this.#matrix(name("attn_output")), mixed));
      const hidden = multiply(
        this.#matrix(name("ffn_up")),
        this.#norm(states, name("ffn_norm")),
      );
      for (let i = 0; i < hidden.length; i++) hidden[i] = hidden[i] > 0 ? hidden[i] * hidden[i] : 0;
      look({ layer, queries, keys, values, hidden });
      addInto(states, multiply(this.#matrix(name("ffn_down")), hidden));
    }
    return this.#norm(states, "output_norm.weight");
  }

  #matrix(name: string): Matrix {
    const tensor = this.#file.tensor(name);
    return {
      rows: tensor.shape[1],
      columns: tensor.shape[0],
      values: this.#file.readFloats(tensor),
    };
  }

  #norm(states: Float32Array, gainName: string): Float32Array {
    const gain = this.#file.readFloats(this.#file.tensor(gainName));
    const out = new Float32Array(states.length);
    for (let start = 0; start < states.length; start += this.#width) {
      let squares = 0;
      for (let i = 0; i < this.#width; i++) squares += states[start + i] ** 2;
      const scale = 1 / Math.sqrt(squares / this.#width + this.#epsilon);
      for (let i = 0; i < this.#width; i++) out[start + i] = states[start + i] * scale * gain[i];
    }
    return out;
  }

  /** Rotary positions on neighbouring pairs, in place. */
  #rotate(rows: Float32Array, heads: number): void {
    const { headDim } = this;
    for (let start = 0; start < rows.length; start += headDim) {
      const position = Math.floor(start / (heads * headDim));
      for (let i = 0; i < headDim; i += 2) {
        const angle = position * this.#ropeBase ** (-i / headDim);
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        const [a, b] = [rows[start + i], rows[start + i + 1]];
        rows[start + i] = a * cos - b * sin;
        rows[start + i + 1] = b * cos + a * sin;
      }
    }
  }

  #attend(
    queries: Float32Array,
    keys: Float32Array,
    values: Float32Array,
    tokens: number,
  ): Float32Array {
    const { heads, headDim } = this;
    const out = new Float32Array(queries.length);
    const weights = new Float32Array(tokens);
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < tokens; row++) {
        attentionWeights(this, queries, keys, head, row, weights);
        const at = (row * heads + head) * headDim;
        for (let key = 0; key <= row; key++) {
          const from = (key * this.kvHeads + kvHead(this, head)) * headDim;
          const weight = weights[key];
          if (weight < 1e-9) continue;
          for (let i = 0; i < headDim; i++) out[at + i] += weight * values[from + i];
        }
      }
    }
    return out;
  }
}

/** The key-value head that a query head reads. */
function kvHead(model: Pick<FloatModel, "heads" | "kvHeads">, head: number): number {
  return Math.floor(head * model.kvHeads / model.heads);
}

/** Softmax weights of one query over the keys up to its own row, into `weights[0..row]`. */
export function attentionWeights(
  model: Pick<FloatModel, "heads" | "kvHeads" | "headDim">,
  queries: Float32Array,
  keys: Float32Array,
  head: number,
  row: number,
  weights: Float32Array,
): void {
  const { headDim, heads, kvHeads } = model;
  const query = queries.subarray(
    (row * heads + head) * headDim,
    (row * heads + head + 1) * headDim,
  );
  const scale = 1 / Math.sqrt(headDim);
  let most = -Infinity;
  for (let key = 0; key <= row; key++) {
    const from = (key * kvHeads + kvHead(model, head)) * headDim;
    let sum = 0;
    for (let i = 0; i < headDim; i++) sum += query[i] * keys[from + i];
    weights[key] = sum * scale;
    most = Math.max(most, weights[key]);
  }
  let total = 0;
  for (let key = 0; key <= row; key++) {
    weights[key] = Math.exp(weights[key] - most);
    total += weights[key];
  }
  for (let key = 0; key <= row; key++) weights[key] /= total;
}

/** `inputs [tokens, columns] · matrixᵀ`, `[tokens, rows]`. */
function multiply({ rows, columns, values }: Matrix, inputs: Float32Array): Float32Array {
  const tokens = inputs.length / columns;
  const out = new Float32Array(tokens * rows);
  let token = 0;
  for (; token + BLOCK <= tokens; token += BLOCK) {
    const a = inputs.subarray(token * columns, (token + 1) * columns);
    const b = inputs.subarray((token + 1) * columns, (token + 2) * columns);
    const c = inputs.subarray((token + 2) * columns, (token + 3) * columns);
    const d = inputs.subarray((token + 3) * columns, (token + 4) * columns);
    for (let row = 0; row < rows; row++) {
      const weights = values.subarray(row * columns, (row + 1) * columns);
      let [p, q, r, s] = [0, 0, 0, 0];
      for (let i = 0; i < columns; i++) {
        const weight = weights[i];
        p += weight * a[i];
        q += weight * b[i];
        r += weight * c[i];
        s += weight * d[i];
      }
      out[token * rows + row] = p;
      out[(token + 1) * rows + row] = q;
      out[(token + 2) * rows + row] = r;
      out[(token + 3) * rows + row] = s;
    }
  }
  for (; token < tokens; token++) {
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let i = 0; i < columns; i++) {
        sum += values[row * columns + i] * inputs[token * columns + i];
      }
      out[token * rows + row] = sum;
    }
  }
  return out;
}

function addInto(target: Float32Array, more: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += more[i];
}
