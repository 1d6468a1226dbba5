import { describe, expect, it } from 'vitest';
import type { Xenstore, XenstoreAccess } from '../../src/netif/xen/index.ts';
import { switchState, XenbusState } from '../../src/netif/xen/xenbus-state.ts';
import { Lab } from './pair.ts';

describe('the state of a device', () => {
  it('is written where the device is', async () => {
    const lab = new Lab();
    const { store } = lab.dom0;
    await lab.run(store.write('/device/state', '4'));
    await lab.run(switchState(store, '/device', XenbusState.Closing));
    expect(await lab.run(store.read('/device/state'))).toBe('5');
  });

  it('is not written where it was, not even if it goes at the last moment', async () => {
    const lab = new Lab();
    const { store } = lab.dom0;
    await lab.run(switchState(store, '/device', XenbusState.Closed));
    expect(await lab.run(store.list('/device'))).toBeNull();

    await lab.run(store.write('/device/state', '4'));
    let removals = 0;
    /** The toolstack removes the device between our look and our word. */
    const racing = (access: XenstoreAccess): XenstoreAccess => ({
      read: async (path) => {
        const value = await access.read(path);
        if (removals++ === 0) await store.remove('/device');
        return value;
      },
      write: (path, value) => access.write(path, value),
      list: (path) => access.list(path),
      makeDirectory: (path) => access.makeDirectory(path),
      remove: (path) => access.remove(path),
      setPermissions: (path, permissions) => access.setPermissions(path, permissions),
    });
    const contested: Xenstore = {
      ...racing(store),
      transaction: (body) => store.transaction((access) => body(racing(access))),
      watch: (path, changed) => store.watch(path, changed),
    };
    await lab.run(switchState(contested, '/device', XenbusState.Closed));
    // The second look found nothing.
    expect(removals).toBe(2);
    expect(await lab.run(store.list('/device'))).toBeNull();
  });
});
