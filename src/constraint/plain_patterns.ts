/**
 * `pattern` without look-around, where it is one that a generator of schemas writes and that can do without; else as it is. Strings that match what is
 * returned match `pattern`.
 */
export function plainPattern(pattern: string): string {
  return zodPatterns.get(pattern) ?? decimalPattern(pattern) ?? pattern;
}

const dates = String.raw`\d+Y(?:\d+M)?(?:\d+D)?|\d+M(?:\d+D)?|\d+D`;
const seconds = String.raw`\d+(?:[.,]\d+)?S`;
const times = String.raw`\d+H(?:\d+M)?(?:${seconds})?|\d+M(?:${seconds})?|${seconds}`;

const zodPatterns: ReadonlyMap<string, string> = new Map([
  // z.email() before Zod 4.4, and as Zod writes it since.
  [
    String
      .raw`^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`,
    String
      .raw`^(?:[A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`,
  ],
  // z.iso.duration()
  [
    String
      .raw`^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$`,
    `^P(?:\\d+W|(?:${dates})(?:T(?:${times}))?|T(?:${times}))$`,
  ],
]);

/** How Pydantic's patterns of a `Decimal` begin (before 2.14): there is a digit. */
const someDigit = String.raw`^(?!^[-+.]*$)[+-]?0*`;
const ofPlaces = /^\\d\*\\\.\?\\d\{0,([1-9]\d{0,2})\}0\*\$$/;
const ofDigits =
  /^\(\?:\\d\{0,([1-9]\d{0,2})\}\|\(\?=\[\\d\.\]\{1,(\d{1,3})\}0\*\$\)\\d\{0,\1\}\\\.\\d\{0,([1-9]\d{0,2})\}0\*\$\)$/;

/** Pydantic's pattern of a `Decimal` in plain words, of any digits, `decimal_places` at most, or `max_digits` too; undefined for others. */
function decimalPattern(pattern: string): string | undefined {
  if (!pattern.startsWith(someDigit)) return undefined;
  const rest = pattern.slice(someDigit.length);
  if (rest === String.raw`\d*\.?\d*$`) {
    return decimal(String.raw`\d+`, String.raw`\d*`, String.raw`\d+`);
  }
  const [, places] = ofPlaces.exec(rest) ?? [];
  if (places !== undefined) return decimal(String.raw`\d+`, ...fractions(places));
  const [, before, length, after] = ofDigits.exec(rest) ?? [];
  // Else the length bounds both sides together.
  if (Number(length) <= Number(before) + Number(after)) return undefined;
  return before && decimal(`0*\\d{1,${before}}`, ...fractions(after));
}

/** What follows the point behind digits, and where there are none. */
function fractions(places: string): [after: string, alone: string] {
  return [`\\d{0,${places}}0*`, `(?:\\d{1,${places}}0*|0+)`];
}

function decimal(whole: string, after: string, alone: string): string {
  return `^[+-]?(?:${whole}(?:\\.${after})?|\\.${alone})$`;
}
