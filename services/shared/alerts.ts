/** What a person is told wherever he is: the setting `alerts` of `system_config`, and what goes out. */
import { z } from 'zod';
import { wholeNumber } from './parse.ts';

const ADDRESS_ALLOWED = 'an address that begins with http:// or https://, of at most 500 characters, or nothing';
const TOKEN_ALLOWED = 'text of at most 100 characters';

const address = z
  .url({ protocol: /^https?$/, error: ADDRESS_ALLOWED })
  .max(500, ADDRESS_ALLOWED)
  .nullable();

/** The value of the key `alerts`. What is missing has its default; with both addresses null nobody is told. */
export const alertSettingsSchema = z.strictObject({
  /** A topic of ntfy, for example https://ntfy.sh/my-wood; user and password may stand in it. */
  ntfyUrl: address.default(null),
  /** Gets each alert as JSON (`alertSchema`) by POST. */
  webhookUrl: address.default(null),
  /** A wanted microphone that does not record for so long is told. */
  notRecordingMinutes: wholeNumber({ min: 1, max: 10_080, unit: 'minutes' }).default(10),
  /** A microphone that hears nothing for so long is told. */
  silentMinutes: wholeNumber({ min: 1, max: 10_080, unit: 'minutes' }).default(60),
  /** A disk that will be full in fewer days is told. */
  diskFullDays: wholeNumber({ min: 1, max: 365, unit: 'days' }).default(7),
  /** A new value sends one alert to try it; how that went stands among the events. */
  testToken: z.string(TOKEN_ALLOWED).max(100, TOKEN_ALLOWED).default(''),
});
export type AlertSettings = z.infer<typeof alertSettingsSchema>;

export const DEFAULT_ALERT_SETTINGS: AlertSettings = alertSettingsSchema.parse({});

/** User or password of an address as it was meant: a percent sign that begins no escape is one of the password's own. */
export function credential(part: string): string {
  return part.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    try {
      return decodeURIComponent(escapes);
    } catch {
      return escapes;
    }
  });
}

/** What a webhook gets. */
export const alertSchema = z.object({
  schema: z.literal(1),
  station: z.object({ id: z.string(), name: z.string() }),
  /** `recorder:<device id>` or `station`. */
  subject: z.string(),
  kind: z.enum(['notRecording', 'silent', 'diskFull', 'test']),
  /** `warning`: it began. `back`: it is over. */
  state: z.enum(['warning', 'back']),
  title: z.string(),
  message: z.string(),
  /** Unix milliseconds by the station's clock. */
  at: z.number(),
});
export type Alert = z.infer<typeof alertSchema>;
