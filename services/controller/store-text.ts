/** Text and JSON from hardware and engines, made fit for PostgreSQL, which takes neither NUL nor half a character. Pure. */

/** Without NUL and lone surrogates, at most `limit` characters. */
export function fitText(text: string, limit: number): string {
  const clean = text.replaceAll('\0', '');
  const cut = clean.length > limit ? clean.slice(0, limit) : clean;
  return cut.replaceAll(/\p{Surrogate}/gu, '\ufffd');
}

/** JSON with every text in it, keys too, made fit. */
export function fitJson(value: unknown): unknown {
  if (typeof value === 'string') return fitText(value, value.length);
  if (Array.isArray(value)) return value.map(fitJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [fitText(key, key.length), fitJson(one)]));
}
