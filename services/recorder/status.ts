/** The recorder's status file: the one of every small service, holding a `RecorderStatus`. */
import type { RecorderStatus } from '../shared/contract.ts';
import type { StatusFile as SharedStatusFile } from '../shared/status-file.ts';

export { createStatusFile } from '../shared/status-file.ts';

export type StatusFile = SharedStatusFile<RecorderStatus>;
