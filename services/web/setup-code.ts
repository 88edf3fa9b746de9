/**
 * The one-time code that proves, at the first visit, that somebody has access to the station itself. It lies in the page's
 * own folder until it is used, so that it is the same after a restart.
 */
import { randomInt, timingSafeEqual } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../shared/durable-file.ts';
import { readHostileFile } from '../shared/hostile-file.ts';

export interface SetupCode {
  /** The code; made where there is none. Throws where the folder cannot be written. */
  read(): Promise<string>;
  /** Compares in constant time; case, blanks and dashes do not matter. */
  matches(given: string): Promise<boolean>;
  /** It was used. */
  remove(): Promise<void>;
}

export const SETUP_CODE_FILE = 'setup-code';
/** Without letters that are taken for digits or for each other: 31 signs, ten of them are 49 bits. */
const SIGNS = 'ABCDEFGHJKMNPQRSTUVWXYZ23456789';
const LENGTH = 10;
const FORM = /^[A-Z2-9]{5}-[A-Z2-9]{5}$/;
const FILE_MAX_BYTES = 64;
const FILE_MODE = 0o600;

export function createSetupCode(webWorkspace: string): SetupCode {
  const file = join(webWorkspace, SETUP_CODE_FILE);
  const read = async (): Promise<string> => {
    const content = await readHostileFile({ root: webWorkspace, name: SETUP_CODE_FILE }, FILE_MAX_BYTES);
    const kept = content.kind === 'text' ? content.text.trim() : '';
    if (FORM.test(kept)) return kept;
    const signs = Array.from({ length: LENGTH }, () => SIGNS[randomInt(SIGNS.length)] ?? '');
    const fresh = `${signs.slice(0, 5).join('')}-${signs.slice(5).join('')}`;
    await writeDurably(file, `${fresh}\n`, FILE_MODE);
    return fresh;
  };
  return {
    read,
    async matches(given) {
      const plain = (text: string) =>
        Buffer.from(
          text
            .toUpperCase()
            .replace(/[^A-Z0-9]/g, '')
            .padEnd(LENGTH)
            .slice(0, 64),
        );
      const [expected, offered] = [plain(await read()), plain(given)];
      return expected.length === offered.length && timingSafeEqual(expected, offered);
    },
    async remove() {
      await rm(file, { force: true });
    },
  };
}
