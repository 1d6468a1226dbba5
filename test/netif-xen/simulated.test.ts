import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../src/netif/xen/index.ts';
import { Lab } from './pair.ts';

describe('the simulated xenstore', () => {
  it('has paths of its own for every domain, and parents where they are missing', async () => {
    const { dom0, guest } = new Lab();
    await dom0.store.makeDirectory('/local/domain/1');
    await dom0.store.setPermissions('/local/domain/1', ['n1']);
    await guest.store.write('device/vif/0/state', '1');
    expect(await dom0.store.read('/local/domain/1/device/vif/0/state')).toBe('1');
    expect(await dom0.store.read('/local/domain/1/device')).toBe('');
    expect(await dom0.store.list('/local/domain/1/device')).toEqual(['vif']);
    expect(await dom0.store.read('/nowhere')).toBeNull();
    expect(await dom0.store.list('/nowhere')).toBeNull();
    await dom0.store.remove('/local/domain/1/device');
    await dom0.store.remove('/nowhere');
    expect(await guest.store.read('device/vif/0/state')).toBeNull();
    await expect(dom0.store.write('/a b', '')).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('lets a domain read and write what it may', async () => {
    const { dom0, guest } = new Lab();
    await dom0.store.write('/secret', 'x');
    await expect(guest.store.read('/secret')).rejects.toMatchObject({ code: 'EACCES' });
    await dom0.store.setPermissions('/secret', ['n0', 'r1']);
    expect(await guest.store.read('/secret')).toBe('x');
    await expect(guest.store.write('/secret', 'y')).rejects.toMatchObject({ code: 'EACCES' });
    await expect(guest.store.setPermissions('/secret', ['b1'])).rejects.toMatchObject({ code: 'EACCES' });
    await dom0.store.setPermissions('/secret', ['n0', 'b1']);
    await guest.store.write('/secret', 'y');
    expect(await dom0.store.read('/secret')).toBe('y');
  });

  it('runs a transaction again when another has changed what it saw, and not when it has not', async () => {
    const { dom0 } = new Lab();
    const { store } = dom0;
    await store.write('/count', '0');
    let runs = 0;
    await store.transaction(async (access) => {
      const value = Number(await access.read('/count'));
      if (runs++ === 0) await store.write('/count', '10');
      await access.write('/count', `${value + 1}`);
    });
    expect([runs, await store.read('/count')]).toEqual([2, '11']);
    runs = 0;
    await store.transaction(async (access) => {
      if (runs++ === 0) await store.write('/other', '1');
      await access.write('/count', '12');
    });
    expect(runs).toBe(1);
    // A node that came or went is a change too.
    runs = 0;
    await store.transaction(async (access) => {
      const there = await access.read('/new');
      if (runs++ === 0) await store.write('/new', '1');
      await access.write('/saw', `${there}`);
    });
    expect([runs, await store.read('/saw')]).toEqual([2, '1']);
  });

  it('does nothing of a transaction that fails, and shows nothing of one that is not over', async () => {
    const { dom0 } = new Lab();
    const { store } = dom0;
    await expect(
      store.transaction(async (access) => {
        await access.write('/a', '1');
        expect(await access.read('/a')).toBe('1');
        expect(await store.read('/a')).toBeNull();
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await store.read('/a')).toBeNull();
  });

  it('tells a watch at once, and of changes at, below and above it', async () => {
    const lab = new Lab();
    const { store } = lab.dom0;
    const seen: string[] = [];
    const watch = await store.watch('/a/b', (path) => seen.push(path));
    const told = async (change: Promise<void>): Promise<string[]> => {
      await change;
      await lab.pass(1);
      return seen.splice(0);
    };
    expect(await told(Promise.resolve())).toEqual(['/a/b']);
    expect(await told(store.write('/a/b', '1'))).toEqual(['/a/b']);
    expect(await told(store.write('/a/b/c/d', '1'))).toEqual(['/a/b/c/d']);
    expect(await told(store.write('/a/bc', '1'))).toEqual([]);
    expect(await told(store.remove('/a'))).toEqual(['/a/b']);
    await watch.close();
    expect(await told(store.write('/a/b', '1'))).toEqual([]);
    const relative: string[] = [];
    await store.watch('device', (path) => relative.push(path));
    await store.write('/local/domain/0/device/x', '1');
    await lab.pass(1);
    expect(relative).toEqual(['device', 'device/x']);
  });
});

describe('simulated grants', () => {
  it('copy what they allow, within a page, and tell what they do not', async () => {
    const { dom0, guest } = new Lab();
    const own = guest.grants.share(0, 2, false);
    const open = guest.grants.share(0, 1, true);
    own.bytes.fill(7);
    const local = dom0.grants.localMemory(PAGE_SIZE);
    const copier = dom0.grants.copier(1, 8);
    copier.pull(own.references[1]!, 10, local, 100, 20);
    copier.push(own.references[0]!, 0, local, 0, 20);
    copier.push(open.references[0]!, PAGE_SIZE - 20, local, 100, 20);
    copier.pull(open.references[0]!, PAGE_SIZE - 20, local, 0, 21);
    copier.pull(4000, 0, local, 0, 1);
    copier.run();
    expect([0, 1, 2, 3, 4].map((i) => copier.status(i))).toEqual([0, -3, 0, -10, -3]);
    expect([...local.bytes.subarray(100, 120)]).toEqual(new Array(20).fill(7));
    expect(open.bytes.at(-1)).toBe(7);
    copier.clear();
    own.end();
    copier.pull(own.references[0]!, 0, local, 0, 1);
    copier.run();
    expect(copier.status(0)).toBe(-3);
    expect(() => dom0.grants.map(1, [own.references[0]!])).toThrow(/EINVAL/);
  });

  it('live on while they are mapped, and are gone with the mapping', () => {
    const { machine, dom0, guest } = new Lab();
    const shared = guest.grants.share(0, 2, true);
    const mapped = dom0.grants.map(1, shared.references);
    mapped.bytes[5000] = 9;
    expect(shared.bytes[5000]).toBe(9);
    shared.end();
    shared.end();
    expect(machine.use).toMatchObject({ grants: 2, mappings: 2, pages: 2 });
    expect(() => dom0.grants.map(1, shared.references)).toThrow(/EINVAL/);
    mapped.unmap();
    mapped.unmap();
    expect(machine.use).toMatchObject({ grants: 0, mappings: 0, pages: 0 });
  });

  it('notice a write to a page that was given back', () => {
    const { guest } = new Lab();
    const shared = guest.grants.share(0, 1, true);
    shared.end();
    shared.bytes[100] = 1;
    expect(() => guest.grants.share(0, 1, true)).toThrow(/written at 100 while it was free/);
  });

  it('run out, and say so', () => {
    const { guest } = new Lab({ pages: 16 });
    guest.grants.share(0, 10, true);
    expect(() => guest.grants.share(0, 7, true)).toThrow(/ENOMEM/);
  });
});

describe('simulated event channels', () => {
  it('remember an event while masked, and make one of many', async () => {
    const lab = new Lab();
    let calls = 0;
    const near = lab.guest.events.listen(0, () => calls++);
    const far = lab.dom0.events.bind(1, near.port, () => {});
    far.notify();
    far.notify();
    await lab.pass(1);
    expect(calls).toBe(1);
    far.notify();
    await lab.pass(1);
    expect(calls).toBe(1);
    near.unmask();
    await lab.pass(1);
    expect(calls).toBe(2);
    near.unmask();
    await lab.pass(1);
    expect(calls).toBe(2);
    expect(() => lab.dom0.events.bind(1, near.port, () => {})).toThrow(/EINVAL/);
    expect(() => lab.dom0.events.bind(1, 60, () => {})).toThrow(/EINVAL/);
    near.close();
    far.notify();
    far.close();
    await lab.pass(1);
    expect(calls).toBe(2);
    expect(lab.machine.use.ports).toBe(0);
  });
});
