/** A recorder's environment as the controller would give it, for tests to change. */
import type { RecorderConfig } from '../../services/shared/contract.ts';

export function sampleRecorderConfig(changes: Partial<RecorderConfig> = {}): RecorderConfig {
  return {
    rate: 48_000,
    channels: 1,
    format: 'S16_LE',
    segmentSeconds: 1,
    processed: { gainDb: 0, highPassHz: 0 },
    archive: 'wav',
    watch: { silentBelowDbfs: -90, silentAfterSeconds: 1, clipAtDbfs: -0.1 },
    microphone: {
      deviceId: '16d0-06f3-1',
      workspace: 'audiomoth-0a1b2c3d',
      name: 'Oak tree',
      manufacturer: 'Open Acoustic Devices',
      model: 'AudioMoth',
      serial: '1',
    },
    station: { id: '8c1f2f4e-0000-4000-8000-000000000000', name: 'Meadow', position: null },
    reserveBytes: 0,
    ...changes,
  };
}

export function sampleRecorderEnvironment(config: unknown = sampleRecorderConfig()): Record<string, string> {
  return {
    SILVASONIC_RECORDER_DEVICE: 'virtual',
    SILVASONIC_RECORDER_PROFILE_SLUG: 'audiomoth',
    SILVASONIC_RECORDER_CONFIG_JSON: JSON.stringify(config),
    SILVASONIC_INSTANCE_ID: 'recorder-1',
  };
}
