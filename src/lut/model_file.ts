import { fromFileUrl } from "@std/path";
import type { LutStage } from "../../ffi/lut_cascade.ts";
import type { LutFusionModel, LutLayer } from "../../ffi/lut_fusion.ts";
import { ModelFormatError } from "../common/errors.ts";
import { SafetensorsFile, type SafetensorsType } from "../formats/safetensors.ts";
import type { BankModel } from "./bank_chooser.ts";
import { damageFeatureCount, type DamageModel } from "./damage.ts";
import { type PatternName, patterns } from "./patterns.ts";

/** Enlargements that the embedded model has. */
export type LutScale = 2 | 3 | 4;

/** Weights of gates and trunk: for sharp clean input, for compressed or soft input, and for heavy damage. Their order is the banks' order. */
export const fusionBanks = ["clean", "mixed", "calm"] as const;

/** One-stage tables for each damage level, from clean to the heaviest. */
export interface SingleExperts {
  scale: LutScale;
  shift: number;
  divisor: number;
  patterns: readonly PatternName[];
  /** For each pattern, a table for each level. */
  tables: readonly Int8Array[][];
}

/** Where the embedded model lies. Throws `TypeError` when this module came over the network. */
export function embeddedModelPath(): string {
  const url = new URL("../../models/lut/sparrow_video.safetensors", import.meta.url);
  if (url.protocol !== "file:") {
    throw new TypeError(
      "the video model does not travel with the module: give the path of models/lut/sparrow_video.safetensors as `model`",
    );
  }
  return fromFileUrl(url);
}

/**
 * The project's own table file: a safetensors file whose metadata says `format: sparrow-video-4`. Tensors of scale N begin
 * with `xN.`: `experts.<pattern>` and `single.<pattern>` `[levels, rows, N²]`, `<bank>.gates.<i>.*`, `<bank>.trunk.<i>.*` and,
 * for clean input, `two_stage.{first,second}.offsets` `[patterns, 8]` and `.tables` `[patterns, rows, outputs]`.
 */
export class LutModelFile implements Disposable {
  readonly #file: SafetensorsFile;

  private constructor(file: SafetensorsFile) {
    this.#file = file;
  }

  /**
   * Opens `path`, by default the embedded model.
   * @throws {ModelFormatError} when the file is not such a model.
   */
  static open(path: string = embeddedModelPath()): LutModelFile {
    const file = SafetensorsFile.open(path);
    const format = file.metadata.format;
    if (format !== "sparrow-video-4") {
      file[Symbol.dispose]();
      throw new ModelFormatError(
        `${path}: format is ${format ?? "absent"}, expected sparrow-video-4`,
      );
    }
    return new LutModelFile(file);
  }

  /** Experts, gates and residual branch of one scale, for each of `fusionBanks`. */
  fusion(scale: LutScale): LutFusionModel[] {
    const names = this.#patterns("patterns");
    const tables = names.map((name) => this.#int8(`x${scale}.experts.${name}`));
    return fusionBanks.map((bank) => ({
      scale,
      shift: this.#number("shift"),
      divisorShift: Math.log2(this.#number("divisor")),
      experts: this.#file.tensor(`x${scale}.experts.${names[0]}`).shape[0],
      patterns: names.map((name) => patterns[name]),
      tables,
      gates: this.#layers(`x${scale}.${bank}.gates`),
      trunk: this.#layers(`x${scale}.${bank}.trunk`),
    }));
  }

  /** One-stage tables of one scale, each level for itself. */
  single(scale: LutScale): SingleExperts {
    const names = this.#patterns("patterns");
    const tables = names.map((name) => {
      const tensor = `x${scale}.single.${name}`;
      const all = this.#int8(tensor);
      const levels = this.#file.tensor(tensor).shape[0];
      const length = all.length / levels;
      return Array.from({ length: levels }, (_, i) => all.subarray(i * length, (i + 1) * length));
    });
    const [divisor] = this.#int32(`x${scale}.single.divisor`);
    return { scale, shift: this.#number("shift"), divisor, patterns: names, tables };
  }

  /** The two-stage cascade for clean input, where the scale has one. */
  twoStage(scale: LutScale): LutStage[] | undefined {
    if (!this.#file.tensors.has(`x${scale}.two_stage.first.tables`)) return undefined;
    const shifts = this.#numbers("two_stage_shifts");
    const divisors = this.#numbers("two_stage_divisors");
    return ["first", "second"].map((name, i) =>
      this.#stage(`x${scale}.two_stage.${name}`, i === 0 ? 1 : 2, shifts[i], divisors[i])
    );
  }

  /** The estimate of a frame's damage level. */
  damage(): DamageModel {
    const bias = this.#floats("damage.bias");
    return { weight: this.#floats("damage.weight", bias.length * damageFeatureCount), bias };
  }

  /** What a frame's damage says about the best one of `fusionBanks`. */
  bank(): BankModel {
    return {
      weight: this.#floats("bank.weight", damageFeatureCount),
      bias: this.#floats("bank.bias", 1)[0],
      damage: this.damage(),
    };
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  /** Offsets and tables of a stage with the four rotations. */
  #stage(prefix: string, step: 1 | 2, shift: number, divisor: number): LutStage {
    const { shape } = this.#file.tensor(`${prefix}.tables`);
    const [count, , outputs] = shape;
    const scale = Math.sqrt(outputs);
    if (shape.length !== 3 || !Number.isInteger(scale)) {
      throw new ModelFormatError(
        `${this.#file.name}: ${prefix}.tables is [${shape}], expected [patterns,rows,a square]`,
      );
    }
    const offsets = this.#int8(`${prefix}.offsets`), values = this.#int8(`${prefix}.tables`);
    if (offsets.length !== 8 * count) {
      throw new ModelFormatError(
        `${this.#file.name}: ${prefix}.offsets has ${offsets.length} values, expected 8 x ${count}`,
      );
    }
    const length = values.length / count;
    const pixels = (at: number) =>
      [0, 2, 4, 6].map((k) => [offsets[at + k], offsets[at + k + 1]] as const);
    return {
      scale,
      step,
      shift,
      rotations: 4,
      divisor,
      bias: 0,
      centre: true,
      patterns: Array.from({ length: count }, (_, p) => pixels(8 * p)),
      tables: Array.from(
        { length: count },
        (_, p) => values.subarray(p * length, (p + 1) * length),
      ),
    };
  }

  #layers(prefix: string): LutLayer[] {
    const layers: LutLayer[] = [];
    for (let i = 0; this.#file.tensors.has(`${prefix}.${i}.weight`); i++) {
      const [outputs, , , inputs] = this.#file.tensor(`${prefix}.${i}.weight`).shape;
      layers.push({
        inputs,
        outputs,
        weights: this.#int8(`${prefix}.${i}.weight`),
        bias: this.#int32(`${prefix}.${i}.bias`),
        shifts: this.#bytes(`${prefix}.${i}.shift`, "U8"),
      });
    }
    if (layers.length === 0) {
      throw new ModelFormatError(`${this.#file.name}: tensor ${prefix}.0.weight is absent`);
    }
    return layers;
  }

  #bytes(name: string, type: SafetensorsType): Uint8Array<ArrayBuffer> {
    const tensor = this.#file.tensor(name);
    if (tensor.type !== type) {
      throw new ModelFormatError(`${this.#file.name}: ${name} is ${tensor.type}, expected ${type}`);
    }
    return this.#file.readTensor(tensor);
  }

  #floats(name: string, length?: number): Float32Array {
    const values = this.#file.readFloats(this.#file.tensor(name));
    if (length !== undefined && values.length !== length) {
      throw new ModelFormatError(
        `${this.#file.name}: ${name} has ${values.length} values, expected ${length}`,
      );
    }
    if (!values.every(Number.isFinite)) {
      throw new ModelFormatError(`${this.#file.name}: ${name} has values that are not finite`);
    }
    return values;
  }

  #int8(name: string): Int8Array<ArrayBuffer> {
    return new Int8Array(this.#bytes(name, "I8").buffer);
  }

  #int32(name: string): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#bytes(name, "I32").buffer);
  }

  #text(key: string): string {
    const text = this.#file.metadata[key];
    if (text === undefined) {
      throw new ModelFormatError(`${this.#file.name}: metadata ${key} is absent`);
    }
    return text;
  }

  #numbers(key: string): number[] {
    const numbers = this.#text(key).split(",").map(Number);
    if (!numbers.every((n) => Number.isInteger(n) && n > 0)) {
      throw new ModelFormatError(
        `${this.#file.name}: metadata ${key} is ${this.#text(key)}, expected positive integers`,
      );
    }
    return numbers;
  }

  #number(key: string): number {
    return this.#numbers(key)[0];
  }

  #patterns(key: string): PatternName[] {
    return this.#text(key).split(",").map((name) => {
      if (!Object.hasOwn(patterns, name)) {
        throw new ModelFormatError(
          `${this.#file.name}: pattern is ${name}, expected one of ${Object.keys(patterns)}`,
        );
      }
      return name as PatternName;
    });
  }
}
