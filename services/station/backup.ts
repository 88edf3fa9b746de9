/**
 * `npm run backup -- FILE`, `npm run restore -- FILE` and `npm run forget-password`, and in the controller's image
 * `node dist/backup.js save|restore FILE` and `forget-password`. The database is the one that the environment names; without, that of a station started by `npm start`.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import packageJson from '../../package.json' with { type: 'json' };
import { type ControllerConfig, readConfig } from '../controller/config.ts';
import { describeFailure } from '../controller/store-failure.ts';
import { prepareDatabase } from '../controller/store-schema.ts';
import { createClock } from '../shared/clock.ts';
import { readPostgresPassword } from '../shared/connections.ts';
import { writeDurably } from '../shared/durable-file.ts';
import type { StoreConnection } from '../shared/postgres-session.ts';
import { loadCatalogue, loadSeedProfiles } from '../shared/seeds.ts';
import { BAD_CONFIG_EXIT_CODE, isInsideContainer } from '../shared/surroundings.ts';
import { applyRestore, forgetOwner, readContent, toBackup, withDatabase } from './backup-database.ts';
import { type Backup, formatBackup, parseBackup } from './backup-document.ts';
import { planRestore, type RestorePlan } from './backup-plan.ts';
import { findEmbeddedPostgres } from './embedded-postgres.ts';

const USAGE = `Usage:
  npm run backup -- FILE                 what was decided about this station, as JSON; "-" is the standard output
  npm run restore -- FILE [--dry-run]    puts it back, after saving what is there now; "-" is the standard input
    --dry-run     only says what would change
    --undo FILE   where to save what is there now; otherwise beside FILE
  npm run forget-password                the page has no owner any more, and asks for a new setup code`;

/** As `sysexits.h` has it. */
const USAGE_EXIT_CODE = 64;
/** Names and ports are nobody's business but the owner's. */
const MODE = 0o600;

/** Something that a person can mend: its message is all that is said. */
class Problem extends Error {}

type Arguments =
  | { command: 'save'; file: string }
  | { command: 'restore'; file: string; dryRun: boolean; undo: string | null }
  | { command: 'forget-password' };

async function main(argv: readonly string[]): Promise<number> {
  const given = parseArguments(argv);
  if (given === null) {
    console.error(USAGE);
    return USAGE_EXIT_CODE;
  }
  try {
    const config = settings();
    const connection = await findDatabase(config);
    await carryOut(given, connection, config);
    return 0;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    console.error(error.message);
    return 1;
  }
}

async function carryOut(given: Arguments, connection: StoreConnection, config: ControllerConfig): Promise<void> {
  switch (given.command) {
    case 'save':
      return await save(given.file, connection);
    case 'restore':
      return await restore(given, connection, config);
    case 'forget-password':
      return await forgetPassword(connection);
    default:
      given satisfies never;
  }
}

/** null: that is no command. */
function parseArguments([command, ...rest]: readonly string[]): Arguments | null {
  if (command === 'forget-password') return rest.length === 0 ? { command } : null;
  if (command !== 'save' && command !== 'restore') return null;
  const words = [...rest];
  const undoAt = words.indexOf('--undo');
  const [, undo = null] = undoAt < 0 ? [] : words.splice(undoAt, 2);
  const dryRun = words.includes('--dry-run');
  const [file, ...more] = words.filter((word) => word !== '--dry-run');
  if (file === undefined || more.length > 0 || (file.startsWith('-') && file !== '-')) return null;
  if (undoAt >= 0 && undo === null) return null;
  if (command === 'restore') return { command, file, dryRun, undo };
  return dryRun || undo !== null ? null : { command, file };
}

function settings(): ControllerConfig {
  const insideContainer = isInsideContainer(process.env);
  const environment = { ...process.env };
  // Where `npm start` puts the data of who is not root.
  if (!insideContainer && process.getuid?.() !== 0 && !environment.SILVASONIC_WORKSPACE_PATH) {
    const data = environment.XDG_DATA_HOME || join(homedir(), '.local', 'share');
    environment.SILVASONIC_WORKSPACE_PATH = join(data, 'silvasonic');
  }
  const read = readConfig(environment, { insideContainer });
  if (read.ok) return read.value;
  console.error(read.problems.join('\n'));
  process.exit(BAD_CONFIG_EXIT_CODE);
}

async function findDatabase({ postgres, workspacePath }: ControllerConfig): Promise<StoreConnection> {
  const isNamed = ['POSTGRES_HOST', 'POSTGRES_PASSWORD', 'POSTGRES_PASSWORD_FILE'].some((name) => process.env[name]);
  if (isNamed || isInsideContainer(process.env)) {
    const { host, port, user, database } = postgres;
    return { host, port, user, database, password: () => readPostgresPassword(postgres) };
  }
  const folder = join(workspacePath, 'database');
  const own = await findEmbeddedPostgres(folder).catch((cause: unknown) => {
    throw new Problem(`${folder} cannot be read (${messageOf(cause)}): run this as the user who started the station.`);
  });
  if (own !== null) return own;
  throw new Problem(
    existsSync(folder)
      ? `The database in ${folder} does not run: start the station with "npm start" in another terminal, and run this again.`
      : `No database is named, and there is none in ${folder}: set POSTGRES_HOST and POSTGRES_PASSWORD_FILE, or run this in the controller's container (services/station/OPERATING.md).`,
  );
}

async function save(file: string, connection: StoreConnection): Promise<void> {
  const backup = await takeBackup(connection);
  if (file === '-') {
    process.stdout.write(formatBackup(backup));
    return;
  }
  await write(file, backup);
  console.log(`Saved to ${file}: ${contents(backup)}. Recordings and passwords are not in it.`);
}

function contents({ profiles, devices, services }: Backup): string {
  return `${devices.length} devices, ${profiles.length} profiles of your own or edited, ${services.length} services`;
}

async function takeBackup(connection: StoreConnection): Promise<Backup> {
  const content = await reach(connection, (clock) => withDatabase(connection, clock, readContent));
  return toBackup(content, new Date(), packageJson.version);
}

/** Who can run this can do anything to the station anyway. */
async function forgetPassword(connection: StoreConnection): Promise<void> {
  await reach(connection, (clock) => withDatabase(connection, clock, forgetOwner, null));
  console.log('The page has no owner, and nobody is signed in. At its next start it prints a new setup code.');
}

async function restore(
  given: Extract<Arguments, { command: 'restore' }>,
  connection: StoreConnection,
  config: ControllerConfig,
): Promise<void> {
  const backup = await readBackup(given.file);
  if (!given.dryRun) await prepare(connection, config);
  const now = await reach(connection, (clock) => withDatabase(connection, clock, readContent));
  const plan = planRestore(now, backup);
  tell(plan, given.dryRun);
  if (given.dryRun || plan.changes.length === 0) return;
  const made = new Date();
  const undo = given.undo ?? undoFile(given.file, config, made);
  await write(undo, toBackup(now, made, packageJson.version));
  await reach(connection, (clock) => withDatabase(connection, clock, (session) => applyRestore(session, plan.changes)));
  console.log(`Done. What was there before is in ${undo}: "npm run restore -- ${undo}" puts it back.`);
  console.log('A controller that runs takes it up within half a minute.');
}

function tell({ changes, notes }: RestorePlan, dryRun: boolean): void {
  for (const { line } of changes) console.log(`${dryRun ? 'would change' : 'changes'}  ${line}`);
  for (const note of notes) console.log(`note  ${note}`);
  if (changes.length === 0) console.log('Nothing differs.');
}

/** An empty database gets its tables first, as from the controller. */
async function prepare(connection: StoreConnection, { migrationsFolder, profilesFolder }: ControllerConfig) {
  const seedProfiles = loadSeedProfiles(join(profilesFolder, 'microphones')).profiles;
  const catalogue = loadCatalogue(join(profilesFolder, 'services')).entries;
  const seedServices = catalogue.map(({ name, enabled }) => ({ name, enabled, settings: {} }));
  await reach(connection, (clock) =>
    prepareDatabase({ connection, migrationsFolder, seedProfiles, seedServices, pageLogin: null, clock }, () => {}),
  );
}

async function reach<T>(
  connection: StoreConnection,
  work: (clock: ReturnType<typeof createClock>) => Promise<T>,
): Promise<T> {
  try {
    return await work(createClock());
  } catch (cause) {
    throw new Problem(describeFailure(cause, connection));
  }
}

async function readBackup(file: string): Promise<Backup> {
  const text = await (file === '-' ? readAll(process.stdin) : readFile(file, 'utf8')).catch((cause: unknown) => {
    throw new Problem(`${file} cannot be read: ${messageOf(cause)}.`);
  });
  const parsed = parseBackup(text);
  if (parsed.ok) return parsed.value;
  throw new Problem(`${file === '-' ? 'What came' : file} cannot be restored; nothing was changed. ${parsed.message}`);
}

async function write(file: string, backup: Backup): Promise<void> {
  await writeDurably(resolve(file), formatBackup(backup), MODE).catch((cause: unknown) => {
    throw new Problem(`The backup cannot be written. ${messageOf(cause)}`);
  });
}

function undoFile(file: string, { controllerWorkspace }: ControllerConfig, made: Date): string {
  const name = `before-restore-${made.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-')}.json`;
  return join(file === '-' ? controllerWorkspace : dirname(file), name);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

process.exitCode = await main(process.argv.slice(2));
