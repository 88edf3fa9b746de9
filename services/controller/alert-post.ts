/** One alert to one receiver: ntfy takes text with headers, a webhook the whole of it as JSON. */
import type { Alert } from '../shared/alerts.ts';

export type AlertTarget = 'ntfy' | 'webhook';

/** `refused`: the receiver is there and does not want it; asking again does not help. */
export type Delivery = { kind: 'sent' } | { kind: 'refused' | 'failed'; why: string };

export type PostAlert = (target: AlertTarget, address: string, alert: Alert) => Promise<Delivery>;

const DEADLINE_MS = 10_000;
/** Client errors that pass by themselves: too early, too many. */
const PASSING = new Set([408, 425, 429]);

/** Never throws. Neither the address nor what stands in it gets into any sentence but its host. */
export const postAlert: PostAlert = async (target, address, alert) => {
  try {
    const url = new URL(address);
    const { headers, body } = target === 'ntfy' ? ntfyRequest(alert) : webhookRequest(alert);
    const response = await fetch(withoutUser(url), {
      method: 'POST',
      headers: { ...headers, ...authorization(url) },
      body,
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    await response.body?.cancel();
    if (response.ok) return { kind: 'sent' };
    const why = `${url.host} answered ${response.status} ${response.statusText}`.trim();
    const lasting = response.status >= 400 && response.status < 500 && !PASSING.has(response.status);
    return { kind: lasting ? 'refused' : 'failed', why };
  } catch (error) {
    return { kind: 'failed', why: `${hostOf(address)} cannot be reached (${reasonOf(error)})` };
  }
};

/** https://docs.ntfy.sh/publish/: title, priority (3 is default, 4 high) and tags, some of which become pictures. */
export function ntfyRequest(alert: Alert): { headers: Record<string, string>; body: string } {
  const isWarning = alert.state === 'warning';
  const tag = isWarning ? 'warning' : alert.kind === 'test' ? 'loudspeaker' : 'white_check_mark';
  return {
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      title: headerText(alert.title),
      priority: isWarning ? '4' : '3',
      tags: tag,
    },
    body: alert.message,
  };
}

function webhookRequest(alert: Alert): { headers: Record<string, string>; body: string } {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(alert) };
}

/** A header takes ASCII alone; anything else is encoded as in mail (RFC 2047), which ntfy reads. */
function headerText(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return /^[\x20-\x7e]*$/.test(line) ? line : `=?UTF-8?B?${Buffer.from(line).toString('base64')}?=`;
}

function withoutUser(url: URL): URL {
  const plain = new URL(url);
  plain.username = '';
  plain.password = '';
  return plain;
}

function authorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function hostOf(address: string): string {
  try {
    return new URL(address).host;
  } catch {
    return 'The receiver';
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${DEADLINE_MS / 1000} s`;
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : null;
  return code ?? error.message;
}
