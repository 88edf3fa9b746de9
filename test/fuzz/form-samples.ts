/** Forms of the page as browsers send them, and what becomes of them on the way and by hand. */
import fc from 'fast-check';
import { corpus, damagedText } from './fuzzing.ts';

export type Fields = Record<string, string | undefined>;

const FORMS: Fields[] = corpus('form-').map((text) => Object.fromEntries(new URLSearchParams(text.trim())));
const NAMES = [...new Set(FORMS.flatMap((form) => Object.keys(form)))];
const VALUES = [...new Set(FORMS.flatMap((form) => Object.values(form)))].filter((value) => value !== undefined);

const names = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...NAMES) },
  fc.constantFrom('__proto__', 'constructor', 'toString', ''),
);

/** One of the forms with a few fields that are damaged, missing, or another's; sometimes any fields at all. */
export const damagedForm: fc.Arbitrary<Fields> = fc
  .record({
    form: fc.constantFrom(...FORMS),
    edits: fc.array(fc.tuple(names, fc.oneof(damagedText(VALUES, 3000), fc.constant(undefined))), { maxLength: 5 }),
  })
  .map(({ form, edits }) => Object.assign(Object.create(null), form, Object.fromEntries(edits)));
