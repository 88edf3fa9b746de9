/** What the doctor prints: for people, grouped, with colours on a terminal; or as JSON. Pure. */
import type { Finding, State } from './doctor-facts.ts';

export interface ReportOptions {
  colours: boolean;
  /** Characters in a line. */
  columns: number;
}

const SIGN: Record<State, string> = { ok: '✓', warning: '!', problem: '✗', unknown: '?' };
const WORD: Record<State, string> = { ok: 'ok', warning: 'warning', problem: 'problem', unknown: 'cannot tell' };
/** SGR parameters (ECMA-48). */
const COLOUR: Record<State, string> = { ok: '32', warning: '33', problem: '31', unknown: '36' };
const INDENT = '      ';
const NARROWEST = 40;

/** Text for people. */
export function formatReport(findings: readonly Finding[], options: ReportOptions): string {
  const lines: string[] = [];
  let group: string | null = null;
  for (const finding of findings) {
    if (finding.group !== group) lines.push('', paint(finding.group, '1', options));
    group = finding.group;
    lines.push(...formatFinding(finding, options));
  }
  return `${[...lines.slice(1), '', summary(findings)].join('\n')}\n`;
}

/** For programs. `schema` is raised when the form changes. */
export function formatJson(findings: readonly Finding[]): string {
  return `${JSON.stringify({ schema: 1, ok: !findings.some(({ state }) => state === 'problem'), findings }, null, 2)}\n`;
}

/** What the whole comes to, in one line. */
export function summary(findings: readonly Finding[]): string {
  const count = (state: State): number => findings.filter((finding) => finding.state === state).length;
  const parts = (['problem', 'warning', 'unknown'] as const)
    .map((state) => ({ word: WORD[state], number: count(state) }))
    .filter(({ number }) => number > 0)
    .map(({ word, number }) => `${number} ${word}${number > 1 && word !== 'cannot tell' ? 's' : ''}`);
  return parts.length === 0 ? 'Everything is in order.' : `${parts.join(', ')}; ${count('ok')} ok.`;
}

function formatFinding({ state, title, message, cure }: Finding, options: ReportOptions): string[] {
  const sign = paint(`${SIGN[state]} ${WORD[state]}`, COLOUR[state], options);
  const body = wrap(plain(message), Math.max(NARROWEST, options.columns - INDENT.length));
  return [
    `  ${sign}  ${plain(title)}`,
    ...body.map((line) => `${INDENT}${line}`),
    // Never wrapped: it is to be copied.
    ...cure.map((command) => `${INDENT}$ ${plain(command)}`),
  ];
}

function paint(text: string, colour: string, { colours }: ReportOptions): string {
  return colours ? `\u001b[${colour}m${text}\u001b[0m` : text;
}

/** What a device or a log said must not steer the terminal. */
function plain(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
