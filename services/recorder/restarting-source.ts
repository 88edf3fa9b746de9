/**
 * A source that is begun anew when it ends without a reason that only a person or the controller can mend, and that is
 * ended when it delivers nothing any more. Bounded: who fails again and again is told to the controller by an exit.
 */
import type { CaptureEnd, CaptureSink, CaptureSource } from './source.ts';

export interface RestartSettings {
  /** Waiting time before each further attempt; their number is the number of attempts. */
  delaysMs: readonly number[];
  /** So many looks in a row without a single frame are a standstill. */
  stallLooks: number;
  /** After so many looks with frames the attempts are counted anew. */
  goodLooks: number;
  lookIntervalMs: number;
}

export const RESTART_SETTINGS: RestartSettings = {
  delaysMs: [0, 250, 500, 1000, 2000],
  stallLooks: 10,
  goodLooks: 60,
  lookIntervalMs: 1000,
};

/** Makes a source out of one that can be made again and again. */
export function createRestartingSource(
  makeSource: () => CaptureSource,
  settings: RestartSettings = RESTART_SETTINGS,
): CaptureSource {
  let source: CaptureSource | null = null;
  let stopped = false;
  let attempts = 0;
  let goodLooks = 0;
  // Looks are counted instead of time: if this very process stood still, its microphone did not.
  let idleLooks = 0;
  let heard = false;
  let ending: Promise<void> = Promise.resolve();
  let retryTimer: NodeJS.Timeout | undefined;
  let lookTimer: NodeJS.Timeout | undefined;

  function begin(sink: CaptureSink): void {
    idleLooks = 0;
    source = makeSource();
    source.start({
      ...sink,
      frames(data) {
        heard = true;
        sink.frames(data);
      },
      ended: (end) => onEnd(sink, end),
    });
  }

  function onEnd(sink: CaptureSink, end: CaptureEnd): void {
    source = null;
    if (stopped) return;
    const delayMs = settings.delaysMs[attempts];
    if (end.exitCode !== 1 || end.reason === 'CaptureProgramMissing' || delayMs === undefined) {
      stopped = true;
      clearInterval(lookTimer);
      const tried = attempts > 0 && end.exitCode === 1 ? ` It was begun anew ${attempts} times.` : '';
      sink.ended({ ...end, message: `${end.message}${tried}` });
      return;
    }
    attempts += 1;
    goodLooks = 0;
    sink.retrying(end);
    if (!stopped) retryTimer = setTimeout(() => begin(sink), delayMs);
  }

  function look(sink: CaptureSink): void {
    idleLooks = heard ? 0 : idleLooks + 1;
    goodLooks += heard ? 1 : 0;
    heard = false;
    if (goodLooks >= settings.goodLooks) attempts = 0;
    if (idleLooks < settings.stallLooks || source === null) return;
    const stalled = source;
    source = null;
    const seconds = (settings.stallLooks * settings.lookIntervalMs) / 1000;
    const message = `The microphone delivered nothing for ${seconds} s: its capture is ended and begun anew.`;
    ending = stalled.stop().then(() => onEnd(sink, { exitCode: 1, reason: 'CaptureStalled', message }));
  }

  return {
    start(sink) {
      begin(sink);
      lookTimer = setInterval(() => look(sink), settings.lookIntervalMs);
    },
    async stop() {
      stopped = true;
      clearTimeout(retryTimer);
      clearInterval(lookTimer);
      await Promise.all([source?.stop(), ending]);
    },
  };
}
