// One thread that tries mutants. One that is decided while the program is loaded must be there before it is.
import { parentPort, workerData } from 'node:worker_threads';

globalThis.__stryker__ = { activeMutant: workerData.activeMutant };
let subject;
try {
  subject = await import(workerData.program);
} catch (cause) {
  parentPort.postMessage({ failedToLoad: String(cause) });
}
if (subject !== undefined) {
  parentPort.on('message', async ({ mutant, tests, seeds, survey }) => {
    try {
      parentPort.postMessage(
        survey ? { survey: await subject.survey() } : { killedBy: await subject.attempt(mutant, tests, seeds) },
      );
    } catch (cause) {
      parentPort.postMessage(survey ? { failedToLoad: cause?.stack ?? String(cause) } : { killedBy: String(cause) });
    }
  });
  parentPort.postMessage({ ready: true });
}
