// `npm run mutate`: breaks the core in every small way that Stryker's instrumenter knows, all mutants in one bundle with a
// switch each, and looks which of them the unit tests, the properties and the simulated worlds let live. Those that live
// must be explained in `survivors.json`. Options: --seeds 2000 (worlds for whatever tests let live), --explained-seeds 200
// (for what is explained: worlds only doubt the explanation), --only plan.ts,spec.ts, --every 10 (a sample), --workers 2,
// --verbose. --worlds-only tries no test: how much the simulated worlds notice by themselves.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { Instrumenter } from '@stryker-mutator/instrumenter';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..', '..');
const CORE = [
  'inventory',
  'device-identity',
  'enrollment',
  'spec',
  'container-spec',
  'service-wish',
  'plan',
  'plan-memory',
  'plan-outcome',
  'plan-telling',
  'plan-updates',
  'progress',
  'loop',
].map((name) => join(root, 'services/controller', `${name}.ts`));

/** Texts are for people: what they say is not what is tried here. */
const EXCLUDED = ['StringLiteral', 'Regex'];
/** Of what is not explained, at most this share may live. */
const LEAST_SCORE = 0.9;
/** A mutant that makes the program run in circles. Generous: machines are shared. */
const GIVEN_UP_AFTER_MS = 600_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    'explained-seeds': { type: 'string', default: '200' },
    only: { type: 'string' },
    every: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
    'worlds-only': { type: 'boolean', default: false },
    workers: { type: 'string', default: String(availableParallelism()) },
  },
});
const seedCount = Number(values.seeds);
const explainedSeedCount = Math.min(seedCount, Number(values['explained-seeds']));
const every = Number(values.every);
const wantedFiles = values.only?.split(',') ?? null;
const workerCount = Math.max(1, Number(values.workers));
if (
  ![seedCount, explainedSeedCount, every, workerCount].every((value) => Number.isInteger(value) && value >= 0) ||
  every < 1
) {
  console.error('Give whole numbers: --seeds 2000 --explained-seeds 200 --every 10 --workers 2.');
  process.exit(64);
}
const unknownFiles = (wantedFiles ?? []).filter((name) => !CORE.some((path) => basename(path) === name));
if (unknownFiles.length > 0) {
  console.error(
    `--only ${unknownFiles.join(',')}: not of the core. Give some of ${CORE.map((path) => basename(path)).join(',')}.`,
  );
  process.exit(64);
}
/** As they were when this began: somebody may be writing. */
const sources = new Map(CORE.map((path) => [path, readFileSync(path, 'utf8')]));
/** Every one stands for one mutant that may live. */
const explanations = JSON.parse(readFileSync(join(import.meta.dirname, 'survivors.json'), 'utf8'));

const folder = mkdtempSync(join(tmpdir(), 'silvasonic-mutation-'));
try {
  process.exitCode = await mutate(join(folder, 'subject.mjs'));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function mutate(program) {
  const { files, mutants } = await instrument();
  await bundle(program, files);
  const survey = await surveyTests(program);
  const wanted = mutants.filter(
    ({ fileName }, index) => index % every === 0 && (wantedFiles === null || wantedFiles.includes(basename(fileName))),
  );
  console.log(
    `${wanted.length} mutants of ${mutants.length}, ${Object.keys(survey.tests).length} tests; what they let live is tried by ${seedCount} worlds, what is explained by ${explainedSeedCount}.`,
  );
  const results = await tryAll(program, wanted, survey);
  return report(results);
}

async function instrument() {
  const silent = Object.fromEntries(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((name) => [name, () => {}]),
  );
  const logger = {
    ...silent,
    ...Object.fromEntries(['Trace', 'Debug', 'Info'].map((name) => [`is${name}Enabled`, () => false])),
  };
  const inputs = [...sources].map(([name, content]) => ({ name, mutate: true, content }));
  const options = { plugins: null, excludedMutations: EXCLUDED, ignorers: [], noHeader: false };
  const { files, mutants } = await new Instrumenter(logger).instrument(inputs, options);
  return { files, mutants: mutants.filter(({ status }) => status !== 'Ignored') };
}

async function bundle(outfile, files) {
  const contents = new Map(files.map(({ name, content }) => [name, content]));
  await build({
    entryPoints: [join(root, 'test/mutation/subject.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'error',
    alias: { vitest: join(root, 'test/mutation/runner.ts') },
    banner: {
      js: "import { createRequire as mutationCreateRequire } from 'node:module'; const require = mutationCreateRequire(import.meta.url);",
    },
    plugins: [
      {
        name: 'mutants',
        setup({ onLoad }) {
          onLoad({ filter: /services\/controller\/[a-z-]+\.ts$/ }, ({ path }) =>
            contents.has(path) ? { contents: contents.get(path), loader: 'ts' } : undefined,
          );
        },
      },
    ],
  });
}

/** A thread with the program in it; `ask` answers `null` when it gave no answer in time. */
async function openWorker(program, activeMutant) {
  const worker = new Worker(join(import.meta.dirname, 'worker.js'), { workerData: { program, activeMutant } });
  const answer = () =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), GIVEN_UP_AFTER_MS);
      const settle = (value) => {
        clearTimeout(timer);
        for (const [event, listener] of Object.entries(listeners)) worker.off(event, listener);
        resolve(value);
      };
      const listeners = {
        message: settle,
        error: (cause) => settle({ failedToLoad: String(cause) }),
        exit: () => settle({ failedToLoad: 'the thread ended' }),
      };
      for (const [event, listener] of Object.entries(listeners)) worker.on(event, listener);
    });
  const ready = await answer();
  return {
    loaded: ready?.ready === true,
    why: ready?.failedToLoad,
    ask(question) {
      worker.postMessage(question);
      return answer();
    },
    close: () => worker.terminate(),
  };
}

async function surveyTests(program) {
  const worker = await openWorker(program);
  const answer = worker.loaded ? await worker.ask({ survey: true }) : { failedToLoad: worker.why };
  await worker.close();
  if (answer?.survey === undefined)
    throw new Error(`Without any mutant the tests do not pass: ${answer?.failedToLoad}`);
  return answer.survey;
}

/** Each mutant is tried by the tests that visit it, the quickest first, then by worlds; what is explained at the end. */
async function tryAll(program, mutants, { isStatic: loading, isPrepared, tests }) {
  const atLoad = new Set(loading);
  // What is prepared may be used by any test.
  const everywhere = new Set([...loading, ...isPrepared]);
  const byDuration = Object.entries(tests).sort(([, a], [, b]) => a.ms - b.ms);
  const explained = new Set(explanations.map(keyOf));
  const isExplained = (mutant) => explained.has(keyOf(describe(mutant)));
  const queue = [...mutants.filter((mutant) => !isExplained(mutant)), ...mutants.filter(isExplained)];
  const results = [];
  const beganMs = performance.now();
  let toldMs = beganMs;
  const work = async () => {
    let worker = null;
    const ask = async (mutant, tests) => {
      const isFirst = worker === null;
      worker ??= await openWorker(program, atLoad.has(mutant.id) ? mutant.id : undefined);
      const seeds = { from: 1, count: isExplained(mutant) ? explainedSeedCount : seedCount };
      const answer = worker.loaded
        ? await worker.ask({ mutant: mutant.id, tests, seeds })
        : { killedBy: `it does not load: ${worker.why}` };
      const isBroken = answer === null || answer.failedToLoad !== undefined;
      if (isBroken) await close();
      // What an earlier mutant left behind may have broken the thread: that is no verdict on this one.
      return isBroken && !isFirst ? ask(mutant, tests) : answer;
    };
    const close = async () => {
      await worker?.close();
      worker = null;
    };
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const isStatic = atLoad.has(mutant.id);
      if (isStatic) await close();
      const visiting = byDuration
        .filter(([, { visits }]) => everywhere.has(mutant.id) || visits[mutant.id] !== undefined)
        .map(([name, { visits }]) => ({ name, visits: visits[mutant.id] ?? 0 }));
      const answer = await ask(mutant, values['worlds-only'] ? [] : visiting);
      results.push({ mutant, killedBy: killerOf(answer), tests: visiting.length });
      if (isStatic) await close();
      if (values.verbose) console.log(`${killerOf(answer) ?? 'it lives'}: ${JSON.stringify(describe(mutant))}`);
      const nowMs = performance.now();
      if (nowMs - toldMs > 10_000) {
        toldMs = nowMs;
        const alive = results.filter(({ killedBy }) => killedBy === null).length;
        const restS = (((nowMs - beganMs) / results.length) * (mutants.length - results.length)) / 1000;
        console.log(
          `${results.length} of ${mutants.length} tried in ${((nowMs - beganMs) / 1000).toFixed(0)} s, ${alive} live, about ${restS.toFixed(0)} s to go`,
        );
      }
    }
    await worker?.close();
  };
  await Promise.all(Array.from({ length: workerCount }, work));
  return results;
}

/** Ending the thread, by an error that nobody awaited, is noticed as well. */
function killerOf(answer) {
  if (answer === null) return 'it runs in circles';
  return answer.failedToLoad ?? answer.killedBy ?? null;
}

/** What a mutant is, in words that do not change when lines above it do. */
function describe({ fileName, location, mutatorName, replacement }) {
  const lines = sources
    .get(fileName)
    .split('\n')
    .slice(location.start.line, location.end.line + 1);
  const short = (text) => text.replace(/\s+/g, ' ').trim().slice(0, 120);
  const line = short(lines[0]);
  const last = lines.length - 1;
  lines[last] = lines[last].slice(0, location.end.column);
  lines[0] = lines[0].slice(location.start.column);
  const code = short(lines.join(' '));
  return { file: basename(fileName), line, mutator: mutatorName, code, becomes: short(replacement) };
}

function keyOf({ file, line, mutator, code, becomes }) {
  return [file, line, mutator, code, becomes].join('\n');
}

function printFiles(results) {
  for (const file of CORE.map((name) => basename(name))) {
    const mine = results.filter(({ mutant }) => basename(mutant.fileName) === file);
    const killed = mine.filter(({ killedBy }) => killedBy !== null).length;
    if (mine.length > 0) console.log(`${file.padEnd(22)} ${String(killed).padStart(4)} of ${mine.length} killed`);
  }
}

/** No verdict: words and lengths that no world can tell apart are the tests' to notice. */
function reportWorlds(results) {
  printFiles(results);
  const killed = results.filter(({ killedBy }) => killedBy !== null).length;
  const share = (100 * killed) / Math.max(1, results.length);
  console.log(`${killed} of ${results.length} mutants are noticed by worlds alone (${share.toFixed(1)} %).`);
  return 0;
}

function report(results) {
  if (values['worlds-only']) return reportWorlds(results);
  const unused = [...explanations];
  const alive = results.filter(({ killedBy }) => killedBy === null);
  const unexplained = [];
  for (const { mutant, tests } of alive) {
    const told = describe(mutant);
    const index = unused.findIndex((entry) => keyOf(entry) === keyOf(told));
    if (index >= 0) {
      unused.splice(index, 1);
      continue;
    }
    unexplained.push(told);
    console.log(
      `lives: ${told.file}:${mutant.location.start.line + 1} ${told.mutator} (${tests} tests visit it)\n    ${told.code}\n → ${told.becomes}`,
    );
  }
  printFiles(results);
  const killed = results.length - alive.length;
  const bySeed = results.filter(({ killedBy }) => killedBy?.startsWith('seed ')).length;
  const score = killed / Math.max(1, results.length);
  console.log(
    `${killed} of ${results.length} mutants killed (${(100 * score).toFixed(1)} %), ${bySeed} of them by worlds alone.`,
  );
  console.log(`${alive.length - unexplained.length} that live are explained, ${unexplained.length} are not.`);
  // Of a sample nobody knows whether what is explained lives.
  const idle = unused.filter(({ file }) => every === 1 && (wantedFiles === null || wantedFiles.includes(file)));
  if (idle.length > 0) {
    console.log('survivors.json explains what does not live, or is not there any more:');
    for (const entry of idle) console.log(keyOf(entry).replaceAll('\n', ' | '));
    return 1;
  }
  return score < LEAST_SCORE || unexplained.length > 0 ? 1 : 0;
}
