/** What people type into fields, as values. */

/** Where people write a comma, programs read a point. What is no number stays text, and is refused as such. */
export function numberOrText(value: string): number | string {
  const plain = value.trim().replace(',', '.');
  return /^[+-]?\d+(\.\d+)?$/.test(plain) ? Number(plain) : value;
}
