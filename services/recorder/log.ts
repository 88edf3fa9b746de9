/** The recorder's log is that of every small service. */
export { createLog, errorCode, errorText, type Log, type LogLevel } from '../shared/log.ts';
