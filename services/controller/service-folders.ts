/**
 * What lies on disk for services of the catalogue: their run folders with what they are told, their own folders that are
 * kept, whether their secrets are there, and the tokens with which they hear live sound.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  LIVE_PLAYLIST_FILE,
  LIVE_TOKEN_FILE,
  LIVE_TOKENS_FILE,
  type LiveTokens,
  liveTokenDigest,
  MICROPHONES_FILE,
  SERVICE_RUN_FOLDER,
  type ToldMicrophones,
} from '../shared/contract.ts';
import { writeDurably } from '../shared/durable-file.ts';
import { emptyFolder, errorCode, fileError, makeFolders, readHostileFile } from '../shared/hostile-file.ts';
import type { SecretVersions, ServiceFolders } from './world.ts';

export interface ServiceFoldersOptions {
  /** All as this process sees them. */
  runPath: string;
  servicesFolder: string;
  secretsFolder: string;
  controllerWorkspace: string;
}

const FOLDER_MODE = 0o755;
/** The page reads which digests it lets in, as another user. */
const TOKENS_MODE = 0o644;
const TOLD_MODE = 0o644;
const SECRET_MODE = 0o600;
/** From it each service's token is derived: they stay as they are across reboots, and differ from each other. */
const LIVE_SECRET_FILE = 'live-secret';
const LIVE_SECRET_PATTERN = /^[0-9a-f]{64}$/;

/** Throws errors in words; what is written holds whole, or what was there before does. */
export function createServiceFolders(options: ServiceFoldersOptions) {
  const { runPath, servicesFolder, secretsFolder, controllerWorkspace } = options;
  const inTurn = createTurns();
  /** What lies in run folders, by path: an unchanged file is not written again. */
  const written = new Map<string, string>();
  let liveSecret: string | null = null;

  const write = async (file: string, text: string, mode: number): Promise<void> => {
    if (written.get(file) === text) return;
    written.delete(file);
    await writeDurably(file, text, mode);
    written.set(file, text);
  };
  const tokenOf = async (service: string): Promise<string> => {
    liveSecret ??= await readLiveSecret(controllerWorkspace);
    return createHmac('sha256', liveSecret).update(service).digest('base64url');
  };

  const tell = async ({ name, microphones, liveSound }: ServiceFolders): Promise<void> => {
    const folder = join(runPath, SERVICE_RUN_FOLDER, name);
    if (microphones === null) return;
    await makeFolders(runPath, { [SERVICE_RUN_FOLDER]: { [name]: {} } }, FOLDER_MODE);
    await write(join(folder, MICROPHONES_FILE), `${JSON.stringify(microphones)}\n`, TOLD_MODE);
    if (!liveSound) return;
    const token = await tokenOf(name);
    await write(join(folder, LIVE_TOKEN_FILE), `${token}\n`, SECRET_MODE);
    await write(join(folder, LIVE_PLAYLIST_FILE), playlist(microphones, token), SECRET_MODE);
  };

  /** Whom the page lets in. Without any such service, and without the file, there is nothing to say. */
  const tellTokens = async (services: readonly ServiceFolders[]): Promise<void> => {
    const file = join(runPath, LIVE_TOKENS_FILE);
    const tokens: LiveTokens = {};
    for (const { name, liveSound } of services) if (liveSound) tokens[name] = liveTokenDigest(await tokenOf(name));
    if (Object.keys(tokens).length > 0 || written.has(file) || (await exists(file)))
      await write(file, `${JSON.stringify(tokens)}\n`, TOKENS_MODE);
  };

  return {
    /** An earlier container's report must not be taken for that of the next, nor a stale list of microphones. */
    prepare: (folders: ServiceFolders): Promise<null> =>
      inTurn(folders.name, async () => {
        const { name, kept } = folders;
        await makeFolders(runPath, { [SERVICE_RUN_FOLDER]: { [name]: {} } }, FOLDER_MODE);
        await emptyFolder(join(runPath, SERVICE_RUN_FOLDER), name);
        for (const file of [...written.keys()])
          if (file.startsWith(join(runPath, SERVICE_RUN_FOLDER, name, '/'))) written.delete(file);
        for (const folder of kept) await makeFolders(servicesFolder, { [name]: { [folder]: {} } }, FOLDER_MODE);
        await tell(folders);
        return null;
      }),
    async tellAll(services: readonly ServiceFolders[]): Promise<null> {
      await inTurn(LIVE_TOKENS_FILE, () => tellTokens(services));
      await Promise.all(services.map((service) => inTurn(service.name, () => tell(service))));
      return null;
    },
    async readSecrets(service: string, names: readonly string[]): Promise<SecretVersions> {
      const versions: SecretVersions = {};
      for (const name of names) versions[name] = await secretVersion(join(secretsFolder, service, name));
      return versions;
    },
  };
}

/** Work on one name goes one after the other; a failure is its own work's alone. */
function createTurns() {
  const last = new Map<string, Promise<unknown>>();
  return <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const turn = (last.get(name) ?? Promise.resolve()).then(work, work);
    last.set(name, turn);
    return turn;
  };
}

/** Extended M3U: most players and tools that take a list of streams read it. */
function playlist({ microphones }: ToldMicrophones, token: string): string {
  const lines = microphones.flatMap(({ name, live }) =>
    live === null ? [] : [`#EXTINF:-1,${listed(name)}`, `${live}?token=${token}`],
  );
  return `${['#EXTM3U', ...lines].join('\n')}\n`;
}

/** One line, and short enough for whoever shows it. */
function listed(name: string): string {
  return [...name.replaceAll(/\p{Cc}/gu, ' ')].slice(0, 60).join('');
}

/** Made at the first need. A file that is none of ours is replaced: services then get new tokens, and start anew. */
async function readLiveSecret(controllerWorkspace: string): Promise<string> {
  const content = await readHostileFile({ root: controllerWorkspace, name: LIVE_SECRET_FILE }, 256);
  const known = content.kind === 'text' ? content.text.trim() : '';
  if (LIVE_SECRET_PATTERN.test(known)) return known;
  const fresh = randomBytes(32).toString('hex');
  await writeDurably(join(controllerWorkspace, LIVE_SECRET_FILE), `${fresh}\n`, SECRET_MODE);
  return fresh;
}

/** Never reads it: what changes with a new file is enough to notice one. */
async function secretVersion(file: string): Promise<SecretVersions[string]> {
  try {
    const info = await lstat(file);
    if (!info.isFile()) return null;
    if (info.uid !== process.getuid?.()) return 'foreign';
    if ((info.mode & 0o077) !== 0) return 'open';
    return `${info.ino}-${info.size}-${Math.round(info.mtimeMs)}`;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return null;
    throw fileError(file, error);
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw fileError(file, error);
  }
}
