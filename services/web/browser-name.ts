/** Which browser it was, in words that its owner knows it by. What browsers say of themselves is no proof of anything. */
import { texts } from './texts.ts';

const PROGRAMS = [
  ['Firefox', /Firefox\/|FxiOS\//],
  ['Edge', /Edg(e|A|iOS)?\//],
  ['Opera', /OPR\//],
  ['Samsung Internet', /SamsungBrowser\//],
  ['Chrome', /Chrome\/|CriOS\/|Chromium\//],
  ['Safari', /Safari\//],
] as const;
const SYSTEMS = [
  ['Android', /Android/],
  ['iPhone', /iPhone/],
  ['iPad', /iPad/],
  ['Windows', /Windows/],
  ['Mac', /Mac OS X|Macintosh/],
  ['Linux', /Linux|X11/],
] as const;
const LONGEST = 60;

/** `Firefox on Android`; what is not known is shown as it called itself. */
export function browserName(userAgent: string): string {
  const program = PROGRAMS.find(([, form]) => form.test(userAgent))?.[0];
  const system = SYSTEMS.find(([, form]) => form.test(userAgent))?.[0];
  if (program === undefined) return userAgent === '' ? texts.settings.unknownBrowser : userAgent.slice(0, LONGEST);
  return system === undefined ? program : texts.settings.browserOn(program, system);
}
