/**
 * When each frame was captured, by the monotonic clock, and how many never arrived. A microphone delivers a steady
 * number of frames per second; what arrives late was only waiting, what never arrives shifts all that follows.
 */

export interface Timeline {
  /**
   * So many frames more have arrived, the last of them at `nowMs` (monotonic). Returns how many were lost unannounced
   * before them: mostly 0, known about two seconds after they should have come.
   */
  advance(frames: number, nowMs: number): number;
  /** The source itself told of frames that it lost: not to be told again. */
  announce(frames: number): void;
  /** When the frame of this number (from 0, of those delivered) was captured: monotonic milliseconds. */
  timeOf(frame: number): number;
}

/** Arrivals are judged by the promptest of such a span. */
const WINDOW_MS = 2000;
/** After such a silence a backlog may follow, and judging begins anew. */
const PAUSE_MS = 300;
/** Less than this is the unsteadiness of a busy machine, or the drift of the microphone's clock: not a loss. */
const TOLERANCE_MS = 60;
/** Spans after which an announced loss is no longer expected to show. */
const ANNOUNCEMENT_WINDOWS = 5;
/** So much sound tells whether what arrives late stays late, or catches up. */
const STEADY_MS = 200;
/** A window with fewer arrivals says too little. */
const MIN_ARRIVALS = 5;

/** `rate`: frames per second. */
export function createTimeline(rate: number): Timeline {
  const msOf = (frames: number): number => (frames / rate) * 1000;
  let total = 0;
  /** Monotonic time at which frame 0 would have been captured, had none been lost since. Null before the first. */
  let anchorMs: number | null = null;
  let lastArrivalMs = 0;
  let windowStartMs = 0;
  let windowMinMs = Infinity;
  /** The same of the first half of the window. */
  let earlyMinMs = Infinity;
  /** … and of its second half. */
  let recentMinMs = Infinity;
  /** How late the latest were, over STEADY_MS of sound. */
  let latest: { lateMs: number; total: number }[] = [];
  let arrivals = 0;
  let announced = 0;
  let announcementAge = 0;

  function beginWindow(nowMs: number): void {
    windowStartMs = nowMs;
    windowMinMs = Infinity;
    earlyMinMs = Infinity;
    recentMinMs = Infinity;
    latest = [];
    arrivals = 0;
  }

  function noteLateness(lateMs: number, nowMs: number): void {
    windowMinMs = Math.min(windowMinMs, lateMs);
    if (nowMs - windowStartMs < WINDOW_MS / 2) earlyMinMs = Math.min(earlyMinMs, lateMs);
    else recentMinMs = Math.min(recentMinMs, lateMs);
    latest.push({ lateMs, total });
    while (msOf(total - (latest[1]?.total ?? total)) >= STEADY_MS) latest.shift();
    arrivals += 1;
  }

  /** The promptest arrival of a whole window was late by `stepMs`: that much will never come. */
  function judge(stepMs: number): number {
    const unannounced = (stepMs / 1000) * rate - announced;
    // What was announced and does not show yet is of an overrun in mid-window.
    announced = Math.max(0, -unannounced);
    if (stepMs > TOLERANCE_MS) return msOf(unannounced) > TOLERANCE_MS ? Math.round(unannounced) : 0;
    announcementAge += 1;
    if (announcementAge > ANNOUNCEMENT_WINDOWS) announced = 0;
    return 0;
  }

  /** A loss that is not judged yet already shows in how late all arrive. Of a backlog each comes less late than the last. */
  function isSteadilyLate(): boolean {
    const [first, second] = latest;
    if (first === undefined || second === undefined || arrivals < MIN_ARRIVALS) return false;
    if (windowMinMs <= TOLERANCE_MS || msOf(total - first.total) < STEADY_MS) return false;
    return Math.min(first.lateMs, second.lateMs) - windowMinMs <= TOLERANCE_MS;
  }

  return {
    advance(frames, nowMs) {
      total += frames;
      const candidateMs = nowMs - msOf(total);
      if (anchorMs === null) {
        anchorMs = candidateMs;
        beginWindow(nowMs);
      }
      if (nowMs - lastArrivalMs > PAUSE_MS) beginWindow(nowMs);
      lastArrivalMs = nowMs;
      // Nothing arrives before it was captured.
      if (candidateMs < anchorMs) anchorMs = candidateMs;
      noteLateness(candidateMs - anchorMs, nowMs);
      if (nowMs - windowStartMs < WINDOW_MS || arrivals < MIN_ARRIVALS) return 0;
      const stepMs = windowMinMs;
      // A backlog is still being read: how late the promptest is will be known at its end.
      const isCatchingUp = earlyMinMs - recentMinMs > TOLERANCE_MS;
      beginWindow(nowMs);
      if (isCatchingUp) return 0;
      anchorMs += stepMs;
      return judge(stepMs);
    },
    announce(frames) {
      announced += frames;
      announcementAge = 0;
    },
    timeOf(frame) {
      return (anchorMs ?? 0) + (isSteadilyLate() ? windowMinMs : 0) + msOf(frame);
    },
  };
}
