/** From the words with which Podman refuses to a reason and a sentence that says what to do. Pure. */
import type { ActionOutcome, ContainerSpec } from './world.ts';

interface Refusal {
  status: number;
  message: string;
}

/** `blocked`: waiting does not help. Whatever is not recognised is told in Podman's own words. */
export function explainRefusal(step: 'create' | 'start', refusal: Refusal, spec: ContainerSpec): ActionOutcome {
  const { message } = refusal;
  if (/no such image|image not known/i.test(message)) {
    return {
      kind: 'blocked',
      reason: 'ImageMissing',
      message: `There is no image ${spec.image} on this machine: build it, or fetch it with "podman pull ${spec.image}".`,
    };
  }
  if (isNetworkMissing(message)) {
    return {
      kind: 'blocked',
      reason: 'NetworkMissing',
      message: `There is no container network ${spec.network}: make it with "podman network create ${spec.network}".`,
    };
  }
  const port = /address already in use/i.test(message)
    ? spec.ports.find((one) => new RegExp(`:${one.port}\\b`).test(message))
    : undefined;
  if (port !== undefined) {
    return {
      kind: 'failed',
      reason: 'PortTaken',
      message: `Another program on this machine uses port ${port.port}: end it, or give the service another port in its file in profiles/services.`,
    };
  }
  return (
    aboutDevice(message, spec) ??
    aboutFolder(message, spec) ?? {
      kind: 'failed',
      reason: step === 'create' ? 'CreateFailed' : 'StartFailed',
      message: `Podman could not ${step} ${spec.name} (HTTP ${refusal.status}): ${message}`,
    }
  );
}

export function isNetworkMissing(message: string): boolean {
  return /network/i.test(message) && /not found|unable to find/i.test(message);
}

const MISSING = /no such file|no such device|not exist/i;
const FORBIDDEN = /permission denied|operation not permitted/i;

function aboutDevice(message: string, spec: ContainerSpec): ActionOutcome | null {
  const device = spec.devices.find(({ path }) => message.includes(path));
  if (device === undefined) return null;
  if (MISSING.test(message)) {
    return {
      kind: 'failed',
      reason: 'DeviceMissing',
      message: `The device node ${device.path} is gone, as after pulling the plug: it is tried again with what the next scan finds.`,
    };
  }
  if (FORBIDDEN.test(message)) {
    return {
      kind: 'blocked',
      reason: 'DeviceForbidden',
      message: `Podman may not pass on ${device.path}: run Podman as root, or have udev give sound devices to its user (SUBSYSTEM=="sound", OWNER="<user>").`,
    };
  }
  return null;
}

function aboutFolder(message: string, spec: ContainerSpec): ActionOutcome | null {
  if (/no space left/i.test(message)) {
    return {
      kind: 'failed',
      reason: 'DiskFull',
      message: "The disk that holds Podman's containers is full: free some space there.",
    };
  }
  const bind = spec.binds.find(({ source }) => message.includes(source));
  if (bind === undefined || !(MISSING.test(message) || FORBIDDEN.test(message))) return null;
  return {
    kind: 'failed',
    reason: 'FolderUnreachable',
    message: `Podman cannot reach the folder ${bind.source} (${MISSING.test(message) ? 'it does not exist' : 'permission denied'}): create it, or correct the path, as the host sees it.`,
  };
}
