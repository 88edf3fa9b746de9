/** The floor: the same engine asked directly for the same container, with nothing of ours in between. */
import type Dockerode from 'dockerode';
import type { BenchStation } from './bench-station.ts';
import type { Request } from './requests.ts';
import { createWallClock } from './wall-clock.ts';

export type Body = Dockerode.ContainerCreateOptions;

/** As many starts at once as the controller makes. */
export const STARTS_AT_ONCE = 4;

let made = 0;

/** The body of the creation that the controller asked for, for a container that belongs to nobody. */
export function bodyOf(request: Request, { floorFolder }: BenchStation): Body {
  const body: Body = JSON.parse(request.body);
  return {
    ...body,
    Labels: { bench: 'floor' },
    HostConfig: {
      ...body.HostConfig,
      Binds: [`${floorFolder}/workspace:/app/workspace:rw`, `${floorFolder}/run:/run/silvasonic:rw`],
    },
  };
}

/** The least that a container with limits is. */
export function plainBody({ image }: BenchStation, network: 'none' | 'bridge'): Body {
  return {
    Image: image,
    Labels: { bench: 'floor' },
    HostConfig: { NetworkMode: network, Memory: 512 * 1024 * 1024, NanoCpus: 1e9, PidsLimit: 64 },
  };
}

/** Creates and starts one: milliseconds until it runs. It is removed again. */
export async function startFloor(bench: BenchStation, body: Body): Promise<number> {
  const name = nextName();
  const beganMs = createWallClock().nowMs();
  const container = await createAndStart(bench, name, body);
  const ranMs = await bench.events.time('start', name, beganMs);
  await container.remove({ force: true, t: 0 });
  return ranMs - beganMs;
}

/** So many, four at once: milliseconds until the last runs, and the containers. */
export async function startManyFloor(
  bench: BenchStation,
  body: Body,
  count: number,
): Promise<{ lastMs: number; containers: { name: string; container: Dockerode.Container }[] }> {
  const names = Array.from({ length: count }, nextName);
  const waiting = [...names];
  const containers: { name: string; container: Dockerode.Container }[] = [];
  const beganMs = createWallClock().nowMs();
  const worker = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
      containers.push({ name, container: await createAndStart(bench, name, body) });
  };
  await Promise.all(Array.from({ length: STARTS_AT_ONCE }, worker));
  const times = await Promise.all(names.map((name) => bench.events.time('start', name, beganMs)));
  return { lastMs: Math.max(...times) - beganMs, containers };
}

async function createAndStart({ docker }: BenchStation, name: string, body: Body): Promise<Dockerode.Container> {
  const container = await docker.createContainer({ ...body, name });
  await container.start();
  return container;
}

function nextName(): string {
  made += 1;
  return `bench-floor-${made}`;
}
