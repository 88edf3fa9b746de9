/** containers.conf says only what a host needs. */
import { expect, test } from 'vitest';
import { containersConf, type HostFacts, readHostFacts } from '../../services/station/engine-config.ts';

const complete: HostFacts = {
  systemd: true,
  cgroupsV1: false,
  mayRaiseLimits: true,
  openFiles: 524_288,
  processes: 32_768,
};

test('a host with systemd, one kind of cgroups and full capabilities needs nothing', () => {
  expect(containersConf(complete, null)).toBe('');
});

test('without the right to raise limits both are named, each within what the host has', () => {
  expect(containersConf({ ...complete, mayRaiseLimits: false }, null)).toBe(
    '[containers]\ndefault_ulimits = ["nofile=524288:524288", "nproc=32768:32768"]\n',
  );
});

test('without systemd, under mixed cgroups', () => {
  expect(containersConf({ ...complete, systemd: false, cgroupsV1: true }, null)).toBe(
    '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n',
  );
});

test('a storage of its own shares neither locks nor state nor networks with any other engine', () => {
  const conf = containersConf(complete, { root: '/a "b"/root', runRoot: '/a "b"/run' });
  expect(conf).toContain('tmp_dir = "/a \\"b\\"/run/libpod"');
  expect(conf).toContain('lock_type = "file"');
  expect(conf).toContain('network_config_dir = "/a \\"b\\"/root/networks"');
});

test('this very host can be read', async () => {
  const facts = await readHostFacts();
  expect(facts.openFiles).toBeGreaterThan(0);
  expect(facts.processes).toBeGreaterThan(0);
});
