/**
 * `npm run doctor`, and `node dist/doctor.js` in the controller's image: looks at everything that a station needs, says
 * what is wrong and how it is mended. Changes nothing. Exit code 0 when nothing is a problem.
 */
import { isInsideContainer } from '../shared/surroundings.ts';
import { examine, exitCode } from './doctor-checks.ts';
import { gather } from './doctor-gather.ts';
import { createLook } from './doctor-look.ts';
import { formatJson, formatReport } from './doctor-report.ts';

const USAGE = `Usage: npm run doctor [-- --json]
  --json  for programs: every finding with its state (ok, warning, problem, unknown) and the commands that mend it
`;
const PAPER_COLUMNS = 100;
const MOST_COLUMNS = 120;

async function main(args: readonly string[]): Promise<number> {
  const unknown = args.find((arg) => arg !== '--json');
  if (unknown !== undefined) {
    process.stderr.write(`${unknown} is not known.\n${USAGE}`);
    return 64;
  }
  const facts = await gather({ look: createLook(process.env), insideContainer: isInsideContainer(process.env) });
  const findings = examine(facts);
  const { isTTY, columns } = process.stdout;
  const width = isTTY ? Math.min(columns, MOST_COLUMNS) : PAPER_COLUMNS;
  const colours = isTTY && !process.env.NO_COLOR;
  process.stdout.write(
    args.includes('--json') ? formatJson(findings) : formatReport(findings, { colours, columns: width }),
  );
  return exitCode(findings);
}

process.exitCode = await main(process.argv.slice(2));
