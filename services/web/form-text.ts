/** What people type into fields, as values. */

/** Where people write a comma, programs read a point. What is no number stays text, and is refused as such. */
export function numberOrText(value: string): number | string {
  const plain = value.trim().replace(',', '.');
  const number = /^[+-]?\d+(\.\d+)?$/.test(plain) ? Number(plain) : Number.NaN;
  // Hundreds of digits are beyond all numbers; as text they are told as they were typed. Minus nothing is nothing.
  return Number.isFinite(number) ? number + 0 : value;
}
