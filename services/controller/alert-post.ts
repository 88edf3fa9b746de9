/** One alert to one receiver: ntfy takes text with headers, a webhook the whole of it as JSON. */
import { type Alert, credential } from '../shared/alerts.ts';

export type AlertTarget = 'ntfy' | 'webhook';

/** `refused`: the receiver is there and does not want it; asking again does not help. */
export type Delivery = { kind: 'sent' } | { kind: 'refused' | 'failed'; why: string };

export type PostAlert = (target: AlertTarget, address: string, alert: Alert) => Promise<Delivery>;

const DEADLINE_MS = 10_000;
/** Client errors that pass by themselves: too early, too many. */
const PASSING = new Set([408, 425, 429]);
/** The receiver is elsewhere, and wants the same there. 302 may be a page to sign in on, which would answer to anything. */
const MOVED = new Set([301, 307, 308]);
/** The receiver took it, and names a page that says so. */
const TAKEN = 303;
const MOST_MOVES = 5;

interface AlertRequest {
  headers: Record<string, string>;
  body: string;
}

/** Never throws. Neither the address nor what stands in it gets into any sentence but its host. */
export const postAlert: PostAlert = async (target, address, alert) => {
  try {
    return await send(new URL(address), target === 'ntfy' ? ntfyRequest(alert) : webhookRequest(alert));
  } catch (error) {
    return { kind: 'failed', why: `${hostOf(address)} cannot be reached (${reasonOf(error)})` };
  }
};

/**
 * Goes where it is sent by itself: `fetch` would ask there with GET, and any page that answers would look like a receiver
 * that took the alert.
 */
async function send(address: URL, { headers, body }: AlertRequest): Promise<Delivery> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  let url = address;
  for (let moves = 0; ; moves += 1) {
    const response = await fetch(withoutUser(url), {
      method: 'POST',
      headers: { ...headers, ...authorization(url) },
      body,
      signal,
      redirect: 'manual',
    });
    await response.body?.cancel();
    if (response.ok || response.status === TAKEN) return { kind: 'sent' };
    const next = MOVED.has(response.status) ? movedTo(url, response) : null;
    if (next === null || moves === MOST_MOVES) return unwanted(url, response);
    url = next;
  }
}

/** Where the receiver is now, with the password where that is the same host. null: no address that one can send to. */
function movedTo(from: URL, { headers }: Response): URL | null {
  const location = headers.get('location') ?? '';
  if (!URL.canParse(location, from.href)) return null;
  const to = withoutUser(new URL(location, from));
  if (to.protocol !== 'https:' && to.protocol !== from.protocol) return null;
  if (to.hostname === from.hostname) {
    to.username = from.username;
    to.password = from.password;
  }
  return to;
}

function unwanted({ host }: URL, { status, statusText }: Response): Delivery {
  const why = `${host} answered ${status} ${statusText}`.trim();
  if (status >= 300 && status < 400)
    return { kind: 'refused', why: `${why} and points to another address: give that of the receiver itself` };
  const lasting = status >= 400 && status < 500 && !PASSING.has(status);
  return { kind: lasting ? 'refused' : 'failed', why };
}

/** https://docs.ntfy.sh/publish/: title, priority (3 is default, 4 high) and tags, some of which become pictures. */
export function ntfyRequest(alert: Alert): AlertRequest {
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

function webhookRequest(alert: Alert): AlertRequest {
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
  const pair = `${credential(username)}:${credential(password)}`;
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
