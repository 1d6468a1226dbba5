import { NetError } from '../../../errors.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { XenstoreClient } from '../xenstore.ts';
import { LinuxEventChannels } from './events.ts';
import { LinuxGrants } from './grants.ts';
import { openXenbus } from './xenbus.ts';

/**
 * Xen through the devices of a Linux that runs on it: `/dev/xen/xenbus`,
 * `evtchn`, and for a frontend `gntalloc`, for a backend `gntdev`.
 *
 * When the kernel takes a device away, which it has no reason to, nothing that
 * was asked of Xen would ever be answered: that is thrown as an uncaught error.
 *
 * @throws NetError `ENOENT`/`ENODEV` where this is no Linux on Xen or a module
 * is missing, `EACCES` without root
 */
export async function openLinuxHypervisor(): Promise<Hypervisor> {
  const store = new XenstoreClient(openXenbus(), (error) => {
    throw error;
  });
  try {
    const domain = Number((await store.read('domid')) ?? Number.NaN);
    if (!Number.isInteger(domain)) {
      throw new NetError('ENODEV', {
        syscall: 'xenstore read domid',
        reason: 'xenstore does not say which domain this is (in dom0, xen-init-dom0 writes it)',
      });
    }
    const events = new LinuxEventChannels();
    const grants = new LinuxGrants();
    return {
      domain,
      grants,
      events,
      store,
      close: async () => {
        store.close();
        events.close();
        grants.close();
      },
    };
  } catch (error) {
    store.close();
    throw error;
  }
}
