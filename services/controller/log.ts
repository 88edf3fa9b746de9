/**
 * Logs: one JSON object per line on standard output, which the engine or the journal collects. Nothing secret gets
 * through: fields that are named like secrets are masked, and so are credentials within any address.
 */
import { pino } from 'pino';

interface Write {
  (message: string): void;
  (fields: object, message?: string): void;
}

/** What the controller needs of a logger; a pino logger is one. */
export interface Log {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
  child(fields: Record<string, unknown>): Log;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogOptions {
  level: LogLevel | 'silent';
  /** Where whole lines go; standard output unless given. */
  destination?: { write(line: string): void };
}

const SECRET_FIELDS = ['password', 'secret', 'token', 'authorization', 'cookie'];
/** Lines kept in memory for a reader that has stopped reading; beyond it lines are dropped. Bytes. */
const BACKLOG_BYTES = 1024 * 1024;

/** Makes the process's logger. `err` in the fields is written with its type, message, stack and causes. */
export function createLog({ level, destination }: LogOptions): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => describeError(error) },
      redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '***' },
      hooks: { streamWrite: maskCredentials },
    },
    destination ?? standardOutput(),
  );
}

/** Not synchronous: whoever collects the log may hang, and that must not stop the controller. */
function standardOutput() {
  const output = pino.destination({ fd: 1, sync: false, maxLength: BACKLOG_BYTES });
  const flushSync = output.flushSync.bind(output);
  // It may lead to a file, and its disk may be full: the next line tries anew. Without somebody to listen, this would end
  // the process, and at its end what waits would be tried again and again, for ever.
  output.on('error', () => {
    output.flushSync = () => {};
  });
  output.on('write', () => {
    output.flushSync = flushSync;
  });
  return output;
}

/** `scheme://user:password@host` → `scheme://***@host`. */
function maskCredentials(line: string): string {
  return line.replaceAll(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"\\]+@/gi, '$1***@');
}

/**
 * Only what an error says of itself: database and HTTP errors carry queries, parameters and whole requests as fields.
 * `depth` ends a chain of causes that leads back to itself.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return String(error);
  return {
    type: error.name,
    message: error.message,
    ...('code' in error && { code: error.code }),
    stack: error.stack,
    ...(error.cause !== undefined && depth < 5 && { cause: describeError(error.cause, depth + 1) }),
  };
}

/** One line per change of state, however often the state is told. */
export interface StateLog {
  /** Writes `message` only when `state` differs from what was last told of `subject`. */
  tell(subject: string, state: string, level: LogLevel, message: string): void;
  /** The next state of `subject` is news again; for subjects that are gone. */
  forget(subject: string): void;
}

export function createStateLog(log: Log): StateLog {
  const last = new Map<string, string>();
  return {
    tell(subject, state, level, message) {
      if (last.get(subject) === state) return;
      last.set(subject, state);
      log[level]({ subject, state }, message);
    },
    forget(subject) {
      last.delete(subject);
    },
  };
}
