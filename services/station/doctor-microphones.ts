/** Judges USB, sound and power: what keeps a microphone that is plugged in from recording well. Pure. */
import type { Microphone } from '../controller/world.ts';
import type { DoctorFacts, Finding, UsbFacts } from './doctor-facts.ts';
import { asRoot, judge, wordsOf } from './doctor-words.ts';

const sound = wordsOf('Microphones');
const machine = wordsOf('Machine');

/** What a full-speed bus may give to steady streams: 90 % of 12 Mbit/s (USB 2.0, 5.6.4), less what addressing takes. */
const FULL_SPEED_BUDGET_MBIT = 9;
/** Below this, nobody is surprised by a busy hub. */
const HIGH_RATE = 192_000;

const BYTES: Record<string, number> = { S8: 1, U8: 1, S16_LE: 2, S24_3LE: 3, S24_LE: 4, S32_LE: 4, FLOAT_LE: 4 };

/** Bits of the firmware's word (raspberrypi.com, vcgencmd get_throttled). */
const THROTTLED = { underVoltageNow: 0, throttledNow: 2, tooHotNow: 3, underVoltageBefore: 16, throttledBefore: 18 };

export function checkMicrophones(facts: DoctorFacts): Finding[] {
  return [microphones(facts), ...each(facts), cards(facts), ...crowded(facts), ...bandwidth(facts)];
}

export function checkPower(facts: DoctorFacts): Finding[] {
  const { throttled, kernelLog } = facts.power;
  const title = 'Power supply';
  const told = kernelLog.ok && kernelLog.value.some((line) => /under-?voltage detected/i.test(line));
  const cure =
    'Use the maker’s own supply (5.1 V, 3 A; 5 A for a Raspberry Pi 5) with a short cable, and a hub with its own supply for the microphones.';
  const has = (bit: number): boolean =>
    throttled.ok && throttled.value !== null && ((throttled.value >> bit) & 1) === 1;
  if (has(THROTTLED.underVoltageNow)) {
    return [
      machine.problem(
        title,
        `The voltage is too low at this moment: microphones drop out and cards get damaged. ${cure}`,
      ),
    ];
  }
  if (has(THROTTLED.underVoltageBefore) || told) {
    return [machine.warning(title, `The voltage was too low since the last start. ${cure}`)];
  }
  const heat = [THROTTLED.throttledNow, THROTTLED.tooHotNow, THROTTLED.throttledBefore].some(has)
    ? [machine.warning('Temperature', 'The processor was slowed down by heat: give it air or a heat sink.')]
    : [];
  if (throttled.ok && throttled.value !== null) return [machine.ok(title, 'The firmware saw no low voltage.'), ...heat];
  if (facts.machine.raspberryPi === null) return [];
  return [machine.unknown(title, throttled.ok ? 'The firmware tells nothing of it.' : throttled.message)];
}

function microphones(facts: DoctorFacts): Finding {
  const title = 'USB microphones';
  return judge(sound, title, facts.sound.microphones, (list) => {
    if (list.length > 0) return sound.ok(title, `${list.length} found.`);
    return sound.warning(
      title,
      'None found. Plug one in, into the machine itself at first, and look what the kernel says.',
      asRoot(facts, 'dmesg --follow'),
    );
  });
}

function each({ sound: { microphones: fact, holders } }: DoctorFacts): Finding[] {
  if (!fact.ok) return [];
  return fact.value.map((microphone, index) => {
    const title = `${index + 1}. ${nameOf(microphone)}`;
    const where = `${microphone.vendorId}:${microphone.productId} at ${microphone.portPath}`;
    if (microphone.obstacle !== null) return sound.warning(title, `${microphone.obstacle.message} (${where})`);
    const holder = holders.find(({ hw }) => hw === microphone.sound?.hw)?.holder;
    const text = `${microphone.sound?.hw ?? 'no sound card'}, ${offersOf(microphone)}, ${where}`;
    if (holder !== undefined && !/arecord/.test(holder)) {
      return sound.warning(
        title,
        `${text}. ${holder} has it open, so no recorder can: stop that, and keep it from starting (for a sound server the second line).`,
        'systemctl --user stop pipewire.socket pipewire.service wireplumber.service pulseaudio.socket pulseaudio.service',
        'systemctl --user mask pipewire.socket pipewire.service wireplumber.service pulseaudio.socket pulseaudio.service',
      );
    }
    const kind =
      microphone.kind === 'composite' ? ' It does more than capture: it waits for your decision on the page.' : '';
    return sound.ok(title, `${text}${holder === undefined ? '' : '; recording'}.${kind}`);
  });
}

function nameOf({ product, vendorId, productId }: Microphone): string {
  return product === '' ? `${vendorId}:${productId}` : product;
}

function offersOf(microphone: Microphone): string {
  const best = fastest(microphone);
  return best === null ? 'rates unknown' : `up to ${best.rate / 1000} kHz × ${best.channels} ${best.format}`;
}

function fastest({ sound: card }: Microphone): { rate: number; channels: number; format: string } | null {
  const offers = card?.capabilities.offers ?? [];
  const all = offers.map(({ format, channels, rates }) => ({
    format,
    channels,
    rate: rates.kind === 'range' ? rates.max : Math.max(0, ...rates.values),
  }));
  return all.sort((a, b) => b.rate - a.rate)[0] ?? null;
}

function cards(facts: DoctorFacts): Finding {
  const title = 'Sound cards';
  const { cards: fact, microphones: found } = facts.sound;
  return judge(sound, title, fact, (lines) => {
    if (lines.length > 0) return sound.ok(title, `${lines.join('; ')}.`);
    const isWanted = found.ok && found.value.length > 0;
    if (!isWanted) return sound.ok(title, 'The system has none.');
    return sound.problem(
      title,
      'The system has made none, though a microphone is plugged in: the kernel’s driver is missing.',
      asRoot(facts, 'modprobe snd-usb-audio'),
    );
  });
}

/**
 * Slow devices (12 Mbit/s) behind one hub share one translator, unless the hub has one for each port; then two fast
 * microphones do not fit, and the second one's recorder fails with "-28, not enough bandwidth".
 */
function crowded({ sound: { microphones: fact, usb } }: DoctorFacts): Finding[] {
  if (!fact.ok || !usb.ok) return [];
  const byHub = new Map<string, { hub: UsbFacts; members: Microphone[]; megabits: number }>();
  for (const microphone of fact.value) {
    const device = usb.value.find((one) => isSame(one, microphone));
    const hub = device === undefined || device.speed > 12 ? undefined : hubOf(device, usb.value);
    const best = fastest(microphone);
    if (hub === undefined || hub.manyTranslators || best === null || best.rate < HIGH_RATE) continue;
    const entry = byHub.get(hub.name) ?? { hub, members: [], megabits: 0 };
    entry.members.push(microphone);
    entry.megabits += (best.rate * best.channels * (BYTES[best.format] ?? 4) * 8) / 1e6;
    byHub.set(hub.name, entry);
  }
  return [...byHub.values()]
    .filter(({ members, megabits }) => members.length > 1 && megabits > FULL_SPEED_BUDGET_MBIT)
    .map(({ hub, members, megabits }) =>
      sound.warning(
        `Hub ${hub.name}`,
        `${members.map(nameOf).join(' and ')} share it and need ${megabits.toFixed(1)} Mbit/s together, and a hub with one translator gives slow devices about ${FULL_SPEED_BUDGET_MBIT}: one of them will be refused ("not enough bandwidth", -28). Plug one into the machine itself, or use a hub with one translator per port ("Multi-TT").`,
        'lsusb -v 2>/dev/null | grep -E "^Bus|TT per port|Single TT"',
      ),
    );
}

function isSame(device: UsbFacts, { vendorId, productId, incarnation }: Microphone): boolean {
  return (
    device.vendorId === vendorId &&
    device.productId === productId &&
    incarnation.split('#')[1] === String(device.address)
  );
}

/** The hub that a device is plugged into; undefined: it is the machine's own. */
function hubOf({ name }: UsbFacts, all: UsbFacts[]): UsbFacts | undefined {
  const parent = name.includes('.') ? name.slice(0, name.lastIndexOf('.')) : null;
  return all.find((one) => one.isHub && one.name === parent);
}

function bandwidth({ power: { kernelLog } }: DoctorFacts): Finding[] {
  if (!kernelLog.ok) return [];
  const line = kernelLog.value.findLast((one) => /not enough bandwidth|error -28\b/i.test(one));
  if (line === undefined) return [];
  return [
    sound.warning(
      'USB bandwidth',
      `The kernel refused a stream for lack of bandwidth ("${line.trim()}"): spread the microphones over the machine's own ports, or use a hub with one translator per port ("Multi-TT").`,
      'lsusb --tree',
    ),
  ];
}
