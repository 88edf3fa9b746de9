/**
 * One cycle: take one snapshot of the world, let the pure parts decide, have it done, write down what changed.
 * Follow one microphone through here: `microphones` → `inventory` (which row) → `spec` (what should run) → `plan`
 * (what to do and why) → `actions` and `podman` (done).
 */

import { type AlertSettings, DEFAULT_ALERT_SETTINGS } from '../shared/alerts.ts';
import type { CatalogueEntry } from '../shared/catalogue.ts';
import { VIRTUAL_VENDOR_ID } from '../shared/profile.ts';
import type { Executor } from './actions.ts';
import type { Operator } from './container-spec.ts';
import type { ImagePulls } from './image-pulls.ts';
import { emptyInventoryMemory, type Inventory, type InventoryMemory, inventory } from './inventory.ts';
import type { Log } from './log.ts';
import type { Dirty, Observed, Observer } from './observe.ts';
import { plan } from './plan.ts';
import { chooseImage, emptyPlanMemory, type PlanMemory, type Policy } from './plan-memory.ts';
import type { Outcome, Plan, PlanInput } from './plan-outcome.ts';
import { currentOnly } from './progress.ts';
import { type SpecInput, wishes } from './spec.ts';
import {
  emptyVirtualMemory,
  type VirtualMemory,
  type VirtualMicrophones,
  virtualMicrophones,
} from './virtual-microphones.ts';
import type {
  Changes,
  Clock,
  DesiredState,
  DeviceRow,
  MicrophoneSource,
  ServiceFolders,
  ServiceRow,
  StationEvent,
  StatusChange,
  Store,
  Wish,
  Workspaces,
} from './world.ts';

export interface ReconcileSettings {
  operator: Omit<Operator, 'stationId'>;
  virtualMicrophones: VirtualMicrophones;
  catalogue: readonly CatalogueEntry[];
  seedHashes: ReadonlyMap<string, string>;
  graceMs: number;
  stallTimeoutMs: number;
  /** Advancing for this long is good running. */
  goodAfterMs: number;
}

export interface ReconcilePorts {
  clock: Clock;
  microphones: MicrophoneSource;
  store: Store;
  workspaces: Workspaces;
  executor: Executor;
  observer: Observer;
  pulls: ImagePulls;
  log: Log;
}

/** How every subject fares, after the last cycle. */
export interface Snapshot {
  stationId: string | null;
  stationName: string;
  alerts: AlertSettings;
  outcomes: readonly Outcome[];
  devices: readonly DeviceRow[];
  /** "3 of 4 recording" */
  line: string;
}

export interface Reconciler {
  /** Answers when to look again by itself, monotonic ms; null: at the tick. */
  cycle(isTick: boolean): Promise<number | null>;
  /** Says what of the world may have changed since it was last read. */
  markDirty(what: Dirty): void;
  snapshot(): Snapshot;
}

/** Events that wait for the database; beyond this the oldest are dropped: they are news, not audio. */
const PENDING_EVENTS = 200;
/** What is told after a decision keeps the processor busy: meanwhile its actions reach disk and engine first. */
const TELLING_WAITS_MS = 10;

export function createReconciler(ports: ReconcilePorts, settings: ReconcileSettings): Reconciler {
  let inventoryMemory: InventoryMemory = emptyInventoryMemory;
  let planMemory: PlanMemory = emptyPlanMemory;
  let virtualMemory: VirtualMemory = emptyVirtualMemory;
  let pendingEvents: StationEvent[] = [];
  const processingTold = new Map<string, string>();
  let servicesTold = true;
  let operator: Operator | null = null;
  let snapshot: Snapshot = {
    stationId: null,
    stationName: '',
    alerts: DEFAULT_ALERT_SETTINGS,
    outcomes: [],
    devices: [],
    line: 'Starting.',
  };

  const takeStock = (observed: Observed, desired: DesiredState): { stock: Inventory; deadlineMs: number | null } => {
    const nowMs = ports.clock.nowMs();
    const virtual = virtualMicrophones({
      wanted: settings.virtualMicrophones,
      scan: observed.scan,
      wasPlugged: desired.devices.some((row) => row.vendorId === VIRTUAL_VENDOR_ID && row.status === 'online'),
      // By our own last cycle: rows may still tell of what recorded before a reboot.
      realRecording: isRealRecording(snapshot.devices),
      memory: virtualMemory,
      nowMs,
    });
    virtualMemory = virtual.memory;
    const stock = inventory({
      scan: observed.scan,
      virtual: virtual.microphones,
      rows: desired.devices,
      profiles: desired.profiles,
      autoEnrollment: desired.config.autoEnrollment,
      memory: inventoryMemory,
      nowMs,
      wallMs: ports.clock.wallMs(),
      graceMs: settings.graceMs,
    });
    inventoryMemory = stock.memory;
    return { stock, deadlineMs: earliest([stock.deadlineMs, virtual.deadlineMs]) };
  };

  /** The same object while the station is the same. */
  const operatorOf = (stationId: string): Operator => {
    if (operator?.stationId !== stationId) operator = { ...settings.operator, stationId };
    return operator;
  };

  const wishFor = (
    observed: Observed,
    desired: DesiredState,
    stock: Inventory,
    stationId: string,
    secrets: SpecInput['secrets'],
  ): Wish[] =>
    wishes({
      operator: operatorOf(stationId),
      desired,
      rows: stock.rows,
      present: stock.present,
      missing: stock.missing,
      unknown: stock.unknown,
      flapping: stock.flapping,
      holders: findHolders(stock, ports.microphones),
      recorderImage: chooseImage(observed.image, planMemory.images),
      catalogue: settings.catalogue,
      seedHashes: settings.seedHashes,
      images: observed.images,
      secrets,
      workspaceProblem: observed.workspaceProblem,
    });

  const decide = (
    observed: Observed,
    wished: Wish[] | null,
    files: Pick<PlanInput, 'statuses' | 'reports'>,
    autoUpdate: boolean,
  ): Plan => {
    const { stallTimeoutMs, goodAfterMs } = settings;
    const nowMs = ports.clock.nowMs();
    // A new release replaces what works: not by settings that somebody may have changed since.
    const policy: Policy = { stallTimeoutMs, goodAfterMs, autoUpdate: autoUpdate && !observed.remembered };
    const decided = plan({
      wishes: wished,
      remembered: observed.remembered,
      containers: observed.containers,
      statuses: currentOnly(files.statuses, nowMs),
      reports: files.reports,
      pulls: ports.pulls.states(),
      inFlight: ports.executor.inFlight(),
      results: ports.executor.takeResults(),
      image: observed.image,
      memory: planMemory,
      nowMs,
      policy,
    });
    planMemory = decided.memory;
    return decided;
  };

  /** Written when it differs from what was written last; a failure is tried again in the next cycle. */
  const tellProcessing = async (wished: readonly Wish[]): Promise<void> => {
    for (const wish of wished) {
      if (wish.kind !== 'run' || wish.folders.kind !== 'recorder' || wish.processing === null) continue;
      const { workspace } = wish.folders;
      const text = JSON.stringify(wish.processing);
      if (processingTold.get(workspace) === text) continue;
      const written = await ports.workspaces.writeProcessing(workspace, wish.processing);
      if (written.ok) processingTold.set(workspace, text);
      else ports.log.warn({ error: written.error }, 'The processor could not be told what to do with a recording.');
    }
  };

  /** What services are told lies in their run folders; a failure is tried again in the next cycle. */
  const tellServices = async (wished: readonly Wish[]): Promise<void> => {
    const folders = wished.flatMap((wish): ServiceFolders[] => {
      if (wish.kind === 'run') return wish.folders.kind === 'service' ? [wish.folders] : [];
      // On hold, what runs goes on: what it was told stays, and its token too.
      const { target } = wish;
      const entry = settings.catalogue.find(({ name }) => target.kind === 'service' && name === target.name);
      if (wish.kind !== 'hold' || entry === undefined) return [];
      return [{ name: entry.name, kept: [], microphones: null, liveSound: entry.station.liveSound }];
    });
    if (folders.length === 0 && !servicesTold) return;
    servicesTold = folders.length > 0;
    const told = await ports.workspaces.tellServices(folders);
    if (!told.ok) ports.log.warn({ error: told.error }, 'The services could not be told of the station.');
  };

  const record = async (changes: Changes): Promise<void> => {
    const events = [...pendingEvents, ...changes.events].slice(-PENDING_EVENTS);
    const nothing =
      changes.devices.length + changes.statuses.length + events.length === 0 &&
      changes.config.workspaceMarked === undefined;
    if (nothing) return;
    const written = await ports.store.write({ ...changes, events });
    pendingEvents = written.ok ? [] : events;
    // What was decided by the rules counts as a change of the row: its generation is the database's to tell.
    if (changes.devices.length > 0) ports.observer.markDirty('database');
    // What was refused is found again from a fresh reading: rows are compared with the world in every cycle.
    if (!written.ok) ports.observer.markDirty('database');
  };

  return {
    markDirty: ports.observer.markDirty,
    snapshot: () => snapshot,
    async cycle(isTick) {
      const observed = await ports.observer.refresh(isTick);
      const { desired, stationId } = observed;
      if (desired === null || stationId === null) {
        const idle = decide(observed, null, { statuses: new Map(), reports: new Map() }, false);
        return idle.deadlineMs;
      }
      const { stock, deadlineMs } = takeStock(observed, desired);
      const secrets = await ports.observer.readSecrets(desired.services, settings.catalogue);
      const wished = wishFor(observed, desired, stock, stationId, secrets);
      ports.pulls.want(missingImages(wished, observed.images));
      const statuses = await ports.observer.readStatuses(wished, observed.containers);
      const reports = await ports.observer.readReports(wished);
      const decided = decide(observed, wished, { statuses, reports }, desired.config.autoUpdate);
      ports.executor.submit(decided.actions);
      if (decided.actions.length > 0) await pause(ports.clock, TELLING_WAITS_MS);
      await tellProcessing(wished);
      await tellServices(wished);
      for (const action of decided.actions)
        ports.log.info({ subject: action.subject, reason: action.reason }, `${action.kind}: ${action.message}`);

      const statusChanges = changedStatuses(wished, decided.outcomes);
      const rows = withStatuses(stock.rows, statusChanges);
      const events = [...observed.events, ...stock.events, ...decided.events];
      logEvents(ports.log, events);
      const config =
        observed.configChanges.workspaceMarked === undefined
          ? desired.config
          : { ...desired.config, ...observed.configChanges };
      const services = withServiceStatuses(desired.services, statusChanges);
      const current: DesiredState = { ...desired, devices: rows, services, config };
      ports.observer.remember(current);
      snapshot = {
        stationId,
        stationName: desired.config.name,
        alerts: desired.config.alerts,
        outcomes: decided.outcomes,
        devices: rows,
        line: stationLine(rows),
      };
      await record({ devices: stock.changes, statuses: statusChanges, events, config: observed.configChanges });
      // A virtual microphone goes as soon as a real one records: nothing else would wake us before the next tick.
      const retiresMs = virtualMemory.plugged && isRealRecording(rows) ? ports.clock.nowMs() : null;
      return earliest([deadlineMs, decided.deadlineMs, retiresMs]);
    },
  };
}

function pause({ timer }: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void timer(delayMs, resolve));
}

/** Only what is known not to be here: an engine that did not answer says nothing about its images. */
function missingImages(wished: readonly Wish[], images: Observed['images']): string[] {
  const references = wished.flatMap((wish) => (wish.kind === 'run' && wish.imageId === null ? [wish.spec.image] : []));
  return references.filter((reference) => images[reference] === null);
}

function isRealRecording(rows: readonly DeviceRow[]): boolean {
  return rows.some((row) => row.phase === 'recording' && row.vendorId !== VIRTUAL_VENDOR_ID);
}

/** Status columns that differ from what the rows say. What is only a glance between two actions is not written down. */
function changedStatuses(wished: readonly Wish[], outcomes: readonly Outcome[]): StatusChange[] {
  const told = new Map(wished.map((wish) => [wish.subject, wish.told]));
  return outcomes.flatMap((outcome) => {
    const before = told.get(outcome.subject);
    if (outcome.target === null || before === undefined || outcome.reason === 'StaleView') return [];
    const { phase, reason, message, observedGeneration } = outcome;
    const same =
      before.phase === phase &&
      before.reason === reason &&
      before.message === message &&
      before.observedGeneration === observedGeneration;
    return same ? [] : [{ subject: outcome.target, phase, reason, message, observedGeneration }];
  });
}

function withServiceStatuses(rows: readonly ServiceRow[], changes: readonly StatusChange[]): ServiceRow[] {
  return rows.map((row) => {
    const change = changes.find(({ subject }) => subject.kind === 'service' && subject.name === row.name);
    if (change === undefined) return row;
    const { subject: _subject, ...columns } = change;
    return { ...row, ...columns };
  });
}

function withStatuses(rows: readonly DeviceRow[], changes: readonly StatusChange[]): DeviceRow[] {
  const byId = new Map(
    changes.flatMap((change) => (change.subject.kind === 'device' ? [[change.subject.id, change] as const] : [])),
  );
  return rows.map((row) => {
    const change = byId.get(row.id);
    if (change === undefined) return row;
    const { subject: _subject, ...columns } = change;
    return { ...row, ...columns };
  });
}

/** Who holds the microphones that recorders found busy. */
function findHolders({ rows, present }: Inventory, microphones: MicrophoneSource): Map<string, string> {
  const holders = new Map<string, string>();
  for (const { id, reason } of rows) {
    const sound = present.get(id)?.sound ?? null;
    const holder = reason === 'MicrophoneBusy' && sound !== null ? microphones.holder(sound) : null;
    if (holder !== null) holders.set(id, holder);
  }
  return holders;
}

/** The station's own line. Virtual microphones count while they are plugged in. */
export function stationLine(rows: readonly DeviceRow[]): string {
  const wanted = rows.filter(
    (row) =>
      row.enabled &&
      row.enrollmentStatus === 'enrolled' &&
      (row.status === 'online' || row.vendorId !== VIRTUAL_VENDOR_ID),
  );
  const recording = wanted.filter((row) => row.phase === 'recording');
  if (wanted.length === 0) return 'No microphone to record from.';
  return `${recording.length} of ${wanted.length} recording`;
}

function logEvents(log: Log, events: readonly StationEvent[]): void {
  for (const event of events) {
    const line = { subject: event.subject, reason: event.reason };
    if (event.type === 'warning') log.warn(line, event.message);
    else log.info(line, event.message);
  }
}

function earliest(times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length > 0 ? Math.min(...known) : null;
}
