/** What people type into fields, as values; and what of it they meant. */

export type Fields = Readonly<Record<string, string | undefined>>;

/** The field in which a form says what it showed when it was made (JSON: text by field). */
export const SEEN = 'seen';

/**
 * What a form means: a field that nobody touched since the form was made is as it is `stored` by now. Another tab, or somebody
 * else, may have changed that meanwhile, and saving one field must not undo what was decided about the others.
 */
export function meantFields(fields: Fields, stored: Readonly<Record<string, string>>): Fields {
  const seen = seenIn(fields[SEEN]);
  const untouched = Object.entries(stored).filter(
    ([name]) => seen.has(name) && lines(fields[name] ?? '') === lines(String(seen.get(name))),
  );
  return { ...fields, ...Object.fromEntries(untouched) };
}

/** Empty of a form that does not say it, as those did that an earlier release made. */
function seenIn(text: string | undefined): ReadonlyMap<string, unknown> {
  try {
    const seen: unknown = JSON.parse(text ?? '');
    return new Map(typeof seen === 'object' && seen !== null ? Object.entries(seen) : []);
  } catch {
    return new Map();
  }
}

/** Browsers send every line break as two characters. */
function lines(text: string): string {
  return text.replaceAll('\r\n', '\n');
}

/** Where people write a comma, programs read a point. What is no number stays text, and is refused as such. */
export function numberOrText(value: string): number | string {
  const plain = value.trim().replace(',', '.');
  const number = /^[+-]?\d+(\.\d+)?$/.test(plain) ? Number(plain) : Number.NaN;
  // Hundreds of digits are beyond all numbers; as text they are told as they were typed. Minus nothing is nothing.
  return Number.isFinite(number) ? number + 0 : value;
}
