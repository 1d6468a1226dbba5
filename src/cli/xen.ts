import { MacAddress } from '../address/index.ts';
import {
  attachVif,
  backendFolder,
  frontendFolder,
  offlineVif,
  openLinuxHypervisor,
  removeVif,
  type Vif,
  type Xenstore,
} from '../netif/xen/index.ts';
import { CryptoRandom, RealClock } from '../time/index.ts';
import { CommandError } from './errors.ts';
import type { CommandIo } from './io.ts';
import type { XenOptions } from './xen-arguments.ts';

/** How long drivers have to let go of a card. */
const DETACH_MS = 10_000;

/** Plugs a network card in or out, as a toolstack does; for tests and demonstrations. */
export async function xenCommand(options: XenOptions, io: Pick<CommandIo, 'stdout'>): Promise<void> {
  const hypervisor = await openLinuxHypervisor();
  const { store, domain } = hypervisor;
  const vif: Vif = {
    frontend: options.frontend ?? domain,
    backend: options.backend ?? domain,
    index: options.index,
  };
  const folders = `${frontendFolder(vif)}\n${backendFolder(vif)}\n`;
  const exists = (await store.read(`${frontendFolder(vif)}/backend`)) !== null;
  try {
    if (options.action === 'attach') {
      if (exists) throw new CommandError(`There is a card in ${frontendFolder(vif)} already.`);
      const { mac = randomMac(), mtu } = options;
      await attachVif(store, { ...vif, mac, ...(mtu !== undefined && { mtu }) });
      io.stdout.write(`${folders}${mac}\n`);
    } else {
      if (!exists) throw new CommandError(`There is no card in ${frontendFolder(vif)}.`);
      await offlineVif(store, vif);
      await untilClosed(store, vif);
      await removeVif(store, vif);
      io.stdout.write(folders);
    }
  } finally {
    await hypervisor.close();
  }
}

/** Xen's own range of addresses. */
function randomMac(): MacAddress {
  return new MacAddress(0x0016, (0x3e << 24) | (new CryptoRandom().next32() & 0xff_ffff));
}

/** Until neither half has a driver that uses it, or for as long as drivers are given. */
async function untilClosed(store: Xenstore, vif: Vif): Promise<void> {
  const clock = new RealClock();
  let changed = (): void => {};
  let isLate = false;
  const alarm = clock.alarm(() => {
    isLate = true;
    changed();
  });
  alarm.set(clock.now() + DETACH_MS);
  const folders = [frontendFolder(vif), backendFolder(vif)];
  const watches = await Promise.all(folders.map((folder) => store.watch(`${folder}/state`, () => changed())));
  try {
    while (!isLate) {
      const next = new Promise<void>((resolve) => {
        changed = resolve;
      });
      const states = await Promise.all(folders.map((folder) => store.read(`${folder}/state`)));
      // 1: no driver has begun; 6: it is done; null: it has removed the folder itself.
      if (states.every((state) => state === null || state === '1' || state === '6')) return;
      await next;
    }
    throw new CommandError(`The drivers of ${folders[0]} did not let go of it within ${DETACH_MS} ms.`);
  } finally {
    alarm.clear();
    await Promise.all(watches.map((watch) => watch.close()));
  }
}
