/**
 * Logs of small services: one JSON object per line on standard error, in the form that the others write. No logging
 * library: a recorder runs once per microphone and is to stay small.
 */
import { writeSync } from 'node:fs';

export type LogLevel = 'info' | 'warn' | 'error';

/** Writes one line: what happened, in a sentence, and fields for programs. */
export type Log = (level: LogLevel, msg: string, fields?: Record<string, unknown>) => void;

/** A log whose every line carries `base`. `write` gets whole lines. */
export function createLog(base: Record<string, unknown>, write: (line: string) => void = writeToStandardError): Log {
  return (level, msg, fields = {}) => {
    write(`${JSON.stringify({ level, time: new Date().toISOString(), ...base, ...fields, msg })}\n`);
  };
}

/** What an error says, with the causes behind it, for the end of a sentence. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`;
}

/** The code of a system error (`ENOSPC`), also where another error was wrapped around it; null: it is none. */
export function errorCode(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return error.cause === undefined ? null : errorCode(error.cause);
}

/** At once, so that the last sentence is out before the process ends. */
function writeToStandardError(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Nobody reads the log, its reader is slow, its terminal is gone, its disk is full: no reason to stop recording.
  }
}
