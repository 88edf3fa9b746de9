/** The simulation as a process: the command, and in its threads the workers. */
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort } from 'node:worker_threads';
import { runCommand, runShare } from './command.ts';

if (isMainThread) process.exitCode = await runCommand(process.argv.slice(2), fileURLToPath(import.meta.url));
else
  parentPort?.on('message', ({ from, count }: { from: number; count: number }) => {
    void runShare(from, count).then((share) => parentPort?.postMessage(share));
  });
