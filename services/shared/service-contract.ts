/**
 * What a service of the catalogue is told of the station, and how it gets at live sound: files in its run folder, which
 * it finds at `SERVICE_PATH.run`, and a door of the page. Written by the controller; the page opens the door.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { isWorkspaceName } from './recording.ts';

/** Where a service finds its secrets inside its container, one read-only file each. */
export const SERVICE_SECRETS_PATH = '/run/secrets';

/** In a service's run folder, with `station.microphones` in its catalogue file; replaced as a whole when it changes. */
export const MICROPHONES_FILE = 'microphones.json';

/** Microphones that should record: enrolled and switched on, plugged in or not. No serial numbers, no ports. */
export const toldMicrophonesSchema = z.strictObject({
  schema: z.literal(1),
  station: z.strictObject({
    name: z.string(),
    /** Degrees, WGS 84; null: nobody said. */
    position: z.strictObject({ latitude: z.number(), longitude: z.number() }).nullable(),
  }),
  microphones: z.array(
    z.strictObject({
      /** Folder below the recordings, and name of the live sound. */
      workspace: z.string().refine(isWorkspaceName),
      /** A person's name for it, else the product's. */
      name: z.string(),
      /** As it records now or is to record; null while nothing settled it. */
      rate: z.number().nullable(),
      channels: z.number().nullable(),
      recording: z.boolean(),
      /** Where its live sound is, without any token; null for a service that may not hear it. */
      live: z.url().nullable(),
    }),
  ),
});
export type ToldMicrophones = z.infer<typeof toldMicrophonesSchema>;

/**
 * Live sound, with `station.liveSound` in the catalogue file. The page answers
 *
 *     GET /live/<workspace>.wav        Authorization: Bearer <token>
 *     GET /live/<workspace>.wav?token=<token>        for what takes nothing but an address
 *
 * with 200 and an endless WAV: the header in the form of the recordings (`status.json`: rate, channels, format; S24_LE
 * packed into three bytes) with 0xFFFFFFFF for both lengths, then what comes out of the recorder's `LIVE_SOCKET` as it
 * is. It ends when the recorder does, and whoever listens asks again. `cache-control: no-store`, no compression.
 *   401  no token, or one that `mayHearLive` does not know; `www-authenticate: Bearer`
 *   404  not a workspace's name, or none of ours
 *   503  nothing is recorded there now; `retry-after: 5`
 * A browser's session opens the same door only where `live_listening` allows it; a service's token opens it whatever that
 * setting says, as a person switched that service on. A token opens nothing else. Tokens belong into no log.
 */
export const livePath = (workspace: string): string => `/live/${workspace}.wav`;

/** In a service's run folder, 0600: its token, one line. */
export const LIVE_TOKEN_FILE = 'live-token';
/** In a service's run folder, 0600: what there is to hear as a playlist (extended M3U), addresses with the token. */
export const LIVE_PLAYLIST_FILE = 'live.m3u';

/**
 * In the root of the run path: which tokens the page lets in, as digests, replaced as a whole when a service is switched
 * on or off. Missing: none. To be read at each request: it is short, and lies in memory.
 */
export const LIVE_TOKENS_FILE = 'live-tokens.json';
/** Such a file beyond this is not one of ours. Bytes. */
export const LIVE_TOKENS_MAX_BYTES = 64 * 1024;

/** Name of the service → SHA-256 of its token, hexadecimal. */
export const liveTokensSchema = z.record(z.string().max(60), z.string().regex(/^[0-9a-f]{64}$/));
export type LiveTokens = z.infer<typeof liveTokensSchema>;

export function liveTokenDigest(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** The service whose token this is; null: nobody's. Digests are compared, so that time tells nothing of the token. */
export function mayHearLive(tokens: LiveTokens, token: string): string | null {
  const digest = liveTokenDigest(token);
  return Object.entries(tokens).find(([, known]) => known === digest)?.[0] ?? null;
}
