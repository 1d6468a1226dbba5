import type { MacAddress } from '../../address/index.ts';
import type { DomainId, Xenstore } from './hypervisor.ts';
import { writeAll } from './keys.ts';
import { XenbusState } from './xenbus-state.ts';

/** A network device between two domains, as xenstore knows it. */
export interface Vif {
  readonly frontend: DomainId;
  readonly backend: DomainId;
  /** Number of the device among those of the frontend's domain. */
  readonly index: number;
}

export interface NewVif extends Vif {
  readonly mac: MacAddress;
  /** Left to the drivers unless given. */
  readonly mtu?: number;
}

/** Folder of the frontend's half. */
export function frontendFolder({ frontend, index }: Vif): string {
  return `/local/domain/${frontend}/device/vif/${index}`;
}

/** Folder of the backend's half. */
export function backendFolder({ frontend, backend, index }: Vif): string {
  return `/local/domain/${backend}/backend/vif/${frontend}/${index}`;
}

/** What a toolstack does to plug in a network card: both halves of it in xenstore, ready for their drivers. */
export async function attachVif(store: Xenstore, vif: NewVif): Promise<void> {
  const front = frontendFolder(vif);
  const back = backendFolder(vif);
  const common = { state: XenbusState.Initialising, handle: vif.index, mac: vif.mac.toString() };
  const mtu = vif.mtu === undefined ? {} : { mtu: vif.mtu };
  await store.transaction(async (access) => {
    for (const [folder, owner, reader] of [
      [front, vif.frontend, vif.backend],
      [back, vif.backend, vif.frontend],
    ] as const) {
      await access.makeDirectory(folder);
      await access.setPermissions(folder, [`n${owner}`, `r${reader}`]);
    }
    await writeAll(access, front, { backend: back, 'backend-id': vif.backend, ...common, ...mtu });
    // Linux's backend does not begin without a script, whichever it is, and connects only when that has
    // said that the interface is plugged in somewhere.
    const script = '/etc/xen/scripts/vif-none';
    const hotplug = { 'hotplug-status': 'connected' };
    await writeAll(access, back, {
      frontend: front,
      'frontend-id': vif.frontend,
      online: 1,
      script,
      ...hotplug,
      ...common,
      ...mtu,
    });
  });
}

/** Asks the drivers to let go of a card, as a toolstack does before it removes it. */
export async function offlineVif(store: Xenstore, vif: Vif): Promise<void> {
  const back = backendFolder(vif);
  await store.transaction(async (access) => {
    await access.write(`${back}/online`, '0');
    await access.write(`${back}/state`, String(XenbusState.Closing));
  });
}

/** Removes both halves of a card from xenstore: the folders alone, whose parents may be others' too. */
export async function removeVif(store: Xenstore, vif: Vif): Promise<void> {
  await store.transaction(async (access) => {
    await access.remove(frontendFolder(vif));
    await access.remove(backendFolder(vif));
  });
}
