/**
 * Where `npm start`, `npm test` and `npm run clean` begin: on any machine, before anything is installed.
 *
 * This file parses on Node 6 and loads nothing until the version is known to be good: somebody with an old Node must
 * read a sentence and not a syntax error. The files that it loads then are free to use everything that Node 20.19 has,
 * but no package.
 */
'use strict';

const OLDEST = [20, 19];

/** The sentence for a Node that is too old, or null. `version` as in `process.versions.node`. */
function nodeProblem(version) {
  const parts = version.split('.');
  const major = Number(parts[0]);
  const minor = Number(parts[1]);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return null;
  return [
    `Node ${version} is too old, Silvasonic needs ${OLDEST.join('.')} or newer:`,
    'install Node 24 from https://nodejs.org/en/download and run this again.',
  ].join(' ');
}

exports.nodeProblem = nodeProblem;

if (require.main === module) {
  const problem = nodeProblem(process.versions.node);
  if (problem === null) {
    require('./command-line.cjs').run(process.argv.slice(2));
  } else {
    console.error(problem);
    process.exitCode = 1;
  }
}
