/** `value` as an argument of 32 bits. @throws {RangeError} when it is no integer from `least` to 2³² − 1, by its name. */
export function u32Argument(name: string, value: number, least = 0): number {
  if (Number.isInteger(value) && value >= least && value < 2 ** 32) return value;
  throw new RangeError(`${name} is ${value}, expected an integer from ${least} to ${2 ** 32 - 1}`);
}
