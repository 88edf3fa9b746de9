/** Gathers what the doctor knows of the engine. */
import { join } from 'node:path';
import { z } from 'zod';
import type { DoctorFacts, EngineFacts, Fact, SocketFacts } from './doctor-facts.ts';
import { andThen, askJson, attemptWithin, failed, type Look, lookAtSocket } from './doctor-look.ts';

const infoSchema = z.object({
  ServerVersion: z.string().default(''),
  CgroupVersion: z.string().default(''),
  CgroupDriver: z.string().default(''),
  MemoryLimit: z.boolean(),
  PidsLimit: z.boolean().default(true),
  CpuCfsQuota: z.boolean().default(true),
  Architecture: z.string().default(''),
  DefaultRuntime: z.string().default(''),
  DockerRootDir: z.string().default(''),
  SecurityOptions: z.array(z.string()).nullish(),
});
const imagesSchema = z.array(z.object({ RepoTags: z.array(z.string()).nullish() }));
const networksSchema = z.array(z.object({ Name: z.string() }));

const ANSWER_DEADLINE_MS = 12_000;

export interface EnginePlaces {
  /** Named by a variable; it counts whatever else answers. null: none is. */
  configured: string | null;
  insideContainer: boolean;
  uid: number;
  userName: string;
}

export async function gatherEngine(look: Look, places: EnginePlaces): Promise<DoctorFacts['engine']> {
  const [command, sockets] = await Promise.all([programVersion(look, places), lookAtSockets(look, places)]);
  const answering =
    sockets.find(({ configured, state }) => configured && state === 'answers') ?? firstAnswering(sockets);
  return {
    command,
    sockets,
    info: answering === undefined ? null : await readInfo(answering.path),
    subordinateIds: subordinateIds(look, places),
  };
}

const firstAnswering = (sockets: SocketFacts[]) => sockets.find(({ state }) => state === 'answers');

async function programVersion(look: Look, { insideContainer }: EnginePlaces): Promise<Fact<string | null>> {
  if (insideContainer) return failed('A container has no program of its own; the engine itself is asked below.');
  const result = await look.run('podman', '--version');
  if (!result.ok) return { ok: true, value: null };
  const { code, stdout, stderr } = result.value;
  return code === 0 ? { ok: true, value: stdout.trim() } : failed(`"podman --version" said: ${stderr.trim()}`);
}

/** The one that is named, then the system's for root, then the user's. */
async function lookAtSockets(look: Look, { configured, insideContainer, uid }: EnginePlaces): Promise<SocketFacts[]> {
  const runtime = look.environment.XDG_RUNTIME_DIR || `/run/user/${uid}`;
  const usual = insideContainer
    ? []
    : [...(uid === 0 ? ['/run/podman/podman.sock'] : []), join(runtime, 'podman/podman.sock')];
  const paths = [...(configured === null ? [] : [configured]), ...usual.filter((path) => path !== configured)];
  return await Promise.all(paths.map((path) => lookAtSocket(`${look.root}${path}`, path === configured)));
}

async function readInfo(socketPath: string): Promise<Fact<EngineFacts>> {
  const read = <T>(path: string, schema: z.ZodType<T>) =>
    attemptWithin(ANSWER_DEADLINE_MS, () => askJson({ socketPath }, path, schema));
  const [info, images, networks] = await Promise.all([
    read('/info', infoSchema),
    read('/images/json', imagesSchema),
    read('/networks', networksSchema),
  ]);
  return andThen(info, (told) => ({
    ok: true,
    value: {
      version: told.ServerVersion,
      rootless: told.SecurityOptions?.some((option) => option.includes('rootless')) ?? false,
      cgroupVersion: told.CgroupVersion,
      cgroupDriver: told.CgroupDriver,
      memoryLimit: told.MemoryLimit,
      pidsLimit: told.PidsLimit,
      cpuLimit: told.CpuCfsQuota,
      architecture: told.Architecture,
      runtime: told.DefaultRuntime,
      storageFolder: told.DockerRootDir,
      images: andThen(images, (list) => list.flatMap(({ RepoTags }) => RepoTags ?? [])),
      networks: andThen(networks, (list) => list.map(({ Name }) => Name)),
    },
  }));
}

function subordinateIds(look: Look, { insideContainer, uid, userName }: EnginePlaces): Fact<boolean> {
  if (insideContainer) return failed('It can be seen on the host only.');
  const has = (path: string): Fact<boolean> =>
    andThen(look.text(path), (text) =>
      (text ?? '').split('\n').some((line) => line.startsWith(`${userName}:`) || line.startsWith(`${uid}:`)),
    );
  const users = has('/etc/subuid');
  return andThen(users, (given) => (given ? has('/etc/subgid') : false));
}
