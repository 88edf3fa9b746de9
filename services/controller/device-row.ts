/** Which columns of a device's row tell how it fares, and which decide what is wished of it. */
import type { DeviceRow, StatusColumns } from './world.ts';

/** They change with every few cycles, decide nothing, and are found again by looking. */
type PassingColumns = keyof StatusColumns | 'lastSeenAt';

/** Every other column, by name: a column that is added must be named here or there, or nothing compiles. */
const LASTING: Record<Exclude<keyof DeviceRow, PassingColumns>, true> = {
  id: true,
  name: true,
  vendorId: true,
  productId: true,
  serial: true,
  serialShared: true,
  portPath: true,
  product: true,
  manufacturer: true,
  capabilities: true,
  status: true,
  enabled: true,
  enrollmentStatus: true,
  decidedBy: true,
  profileSlug: true,
  suggestedProfile: true,
  settings: true,
  restartToken: true,
  workspace: true,
  firstSeenAt: true,
  generation: true,
};
const LASTING_COLUMNS = Object.keys(LASTING) as (keyof typeof LASTING)[];

/** Every column but those of its status has the very same value. */
export function isSameButForStatus(a: DeviceRow, b: DeviceRow): boolean {
  if (a === b) return true;
  for (const column of LASTING_COLUMNS) if (a[column] !== b[column]) return false;
  return true;
}
