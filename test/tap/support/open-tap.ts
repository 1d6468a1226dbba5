/*
 * A process of its own for tests of privileges and of handed-over descriptors:
 *
 *   open-tap.ts '{"fd":3}' [ADDRESS]
 *
 * Prints one JSON line with what `openTap` gave or threw. With ADDRESS it then
 * answers ARP for it, and prints a second line when the first IP frame comes.
 */
import { openTap, type TapNetif } from '../../../src/netif/tap/index.ts';
import { Station } from './frames.ts';

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function open(): TapNetif | null {
  try {
    return openTap(JSON.parse(process.argv[2] ?? '{}'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    print({ code, message });
    return null;
  }
}

const tap = open();
if (tap !== null) {
  print({ name: tap.name, mtu: tap.mtu, transmit: tap.transmit });
  const address = process.argv[3];
  if (address === undefined) {
    await tap.close();
  } else {
    const station = new Station(tap, address);
    station.onFrame = (frame) => {
      print({ received: frame.end - frame.start });
      setImmediate(() => tap.close());
    };
  }
}
