/** A source of microphones as the contract asks it: with its objects numbered, as they cannot leave their process. */
import type { Microphone, MicrophoneSource } from '../../services/controller/world.ts';
import type { AskedSource } from './microphones-contract.ts';

export function askedSource(source: MicrophoneSource): AskedSource {
  const numbers = new WeakMap<Microphone, number>();
  let given = 0;
  let changes = 0;
  const numberOf = (microphone: Microphone): number => {
    const number = numbers.get(microphone) ?? ++given;
    numbers.set(microphone, number);
    return number;
  };
  return {
    start: async () =>
      source.start(() => {
        changes += 1;
      }),
    async read() {
      const reading = source.read();
      const { state, message } = source.dependency();
      const identities = reading.ok ? reading.value.map(numberOf) : [];
      return { reading, identities, changes, dependency: { state, message } };
    },
    holder: async (sound) => source.holder(sound),
    stop: async () => source.stop(),
  };
}
