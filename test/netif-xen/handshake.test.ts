import { describe, expect, it } from 'vitest';
import type { Netif } from '../../src/netif/index.ts';
import {
  backendFolder,
  frontendFolder,
  type Hypervisor,
  offlineVif,
  openNetback,
  openNetfront,
  removeVif,
  type XenstoreAccess,
} from '../../src/netif/xen/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { listen, numbered, type Recorder, send } from '../netif/helpers.ts';
import { Lab, makePair, VIF } from './pair.ts';

const NOTHING = { grants: 0, mappings: 0, pages: 0, ports: 0, watches: 0 };
const FRONT = frontendFolder(VIF);
const BACK = backendFolder(VIF);

/** A frame each way arrives. */
async function expectTraffic(
  lab: Lab,
  front: Netif,
  atFront: Recorder,
  back: Netif,
  atBack: Recorder,
): Promise<void> {
  const [f, b] = [atFront.frames.length, atBack.frames.length];
  expect(send(front, numbered(f))).toBe(true);
  expect(send(back, numbered(b))).toBe(true);
  front.flush();
  back.flush();
  await lab.pass(5);
  expect([atFront.frames.length, atBack.frames.length]).toEqual([f + 1, b + 1]);
}

async function untilConnected(lab: Lab, netif: { readonly connected: boolean }): Promise<void> {
  for (let waited = 0; !netif.connected; waited += 10) {
    if (waited > 30_000) throw new Error('it does not connect');
    await lab.pass(10);
  }
}

/** The hypervisor as a process sees it that dies after `operations` calls of xenstore: nothing answers any more. */
function mortal(hypervisor: Hypervisor, operations: number): Hypervisor & { readonly left: number } {
  let left = operations;
  const never = new Promise<never>(() => {});
  const wrap = <T extends XenstoreAccess>(access: T): T =>
    new Proxy(access, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...given: unknown[]) => {
          if (left-- <= 0) return never;
          if (name !== 'transaction') return Reflect.apply(value, target, given);
          const body = given[0] as (inner: XenstoreAccess) => Promise<unknown>;
          return Reflect.apply(value, target, [(inner: XenstoreAccess) => body(wrap(inner))]);
        };
      },
    });
  return {
    domain: hypervisor.domain,
    grants: hypervisor.grants,
    events: hypervisor.events,
    store: wrap(hypervisor.store),
    close: () => hypervisor.close(),
    get left() {
      return left;
    },
  };
}

describe('the handshake', { timeout: 60_000 }, () => {
  it('ends with both ends in Closed and nothing in use, whoever closes first, 20 times over', async () => {
    const lab = new Lab();
    await lab.attach();
    for (let cycle = 0; cycle < 20; cycle++) {
      const [front, back] = await lab.run(Promise.all([lab.openFront(), lab.openBack()]));
      const f = listen(front);
      const b = listen(back);
      await expectTraffic(lab, front, f, back, b);
      const ends = cycle % 2 === 0 ? [front, back] : [back, front];
      for (const end of ends) await lab.run(end.close());
      expect(await lab.state(BACK)).toBe('6');
      expect(['1', '6']).toContain(await lab.state(FRONT));
      expect(lab.machine.use).toEqual(NOTHING);
      expect([f.log.at(-1), b.log.at(-1)]).toEqual(['closed', 'closed']);
    }
  });

  it('survives transactions that collide', async () => {
    const random = new SeededRandom(3);
    const lab = new Lab({ collides: () => random.next32() % 3 !== 0 });
    const { front, back } = await lab.open();
    await expectTraffic(lab, front, listen(front), back, listen(back));
  });

  it('connects again when the backend closes and comes back, and says writable', async () => {
    const { lab, front, back } = await makePair();
    const f = listen(front);
    await expectTraffic(lab, front, f, back, listen(back));
    await lab.run(back.close());
    expect(front.connected).toBe(false);
    expect(front.reserve(60)).toBeNull();
    const again = await lab.run(lab.openBack());
    await untilConnected(lab, front);
    expect(f.log).toContain('writable');
    await expectTraffic(lab, front, f, again, listen(again));
    await lab.run(Promise.all([front.close(), again.close()]));
    expect(lab.machine.use).toEqual(NOTHING);
  });

  it('takes a new frontend when the old one has closed', async () => {
    const { lab, front, back } = await makePair();
    const b = listen(back);
    await lab.run(front.close());
    await lab.pass(10);
    expect(back.connected).toBe(false);
    const again = await lab.run(lab.openFront());
    await untilConnected(lab, back);
    await expectTraffic(lab, again, listen(again), back, b);
  });

  it('connects again after the domain was suspended', async () => {
    const { lab, front, back } = await makePair();
    const f = listen(front);
    const b = listen(back);
    await expectTraffic(lab, front, f, back, b);
    await lab.run(front.suspend());
    expect(front.connected).toBe(false);
    await lab.pass(100);
    await lab.run(front.resume());
    await untilConnected(lab, front);
    await untilConnected(lab, back);
    await expectTraffic(lab, front, f, back, b);
    await lab.run(Promise.all([front.close(), back.close()]));
    expect(lab.machine.use).toEqual(NOTHING);
  });

  it('ends with ENODEV when the card is detached', async () => {
    const { lab, front, back } = await makePair();
    const f = listen(front);
    const b = listen(back);
    await lab.run(offlineVif(lab.dom0.store, VIF));
    await lab.pass(100);
    expect(f.log.at(-1)).toMatch(/closed: .*ENODEV/);
    expect(b.log.at(-1)).toMatch(/closed: .*ENODEV/);
    expect([await lab.state(FRONT), await lab.state(BACK)]).toEqual(['6', '6']);
    expect(lab.machine.use).toEqual(NOTHING);
    await lab.run(removeVif(lab.dom0.store, VIF));
  });

  it('ends with ENODEV when the card vanishes from xenstore without a word', async () => {
    const { lab, front, back } = await makePair();
    const f = listen(front);
    const b = listen(back);
    await lab.run(removeVif(lab.dom0.store, VIF));
    await lab.pass(100);
    expect(f.log.at(-1)).toMatch(/closed: .*ENODEV/);
    expect(b.log.at(-1)).toMatch(/closed: .*ENODEV/);
    expect(lab.machine.use).toEqual(NOTHING);
    // Nobody has written to a folder that is gone.
    expect(await lab.state(FRONT)).toBeNull();
    expect(await lab.state(BACK)).toBeNull();
  });

  it('says what is missing, and how far it came', async () => {
    const lab = new Lab();
    await expect(lab.run(lab.openFront())).rejects.toMatchObject({ code: 'ENODEV' });
    await lab.attach();
    await expect(lab.run(lab.openFront({ timeoutMs: 500 }))).rejects.toThrow(
      /ETIMEDOUT.*is Initialising, its backend .* Initialising/,
    );
    await expect(lab.run(lab.openBack({ timeoutMs: 500 }))).rejects.toThrow(/ETIMEDOUT/);
    const abort = new AbortController();
    const opening = lab.openFront({ signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(lab.run(opening)).rejects.toThrow('enough');
    await expect(lab.run(lab.openFront({ queues: 0 }))).rejects.toMatchObject({ code: 'EINVAL' });
    await lab.pass(10);
    expect(lab.machine.use).toEqual(NOTHING);
  });
});

describe('a process that dies at any point of the handshake', { timeout: 120_000 }, () => {
  it('is followed by another frontend', async () => {
    let deaths = 0;
    for (let operations = 0; ; operations++) {
      const lab = new Lab();
      await lab.attach();
      const backing = lab.openBack({ timeoutMs: Infinity });
      const dying = mortal(lab.guest, operations);
      const first = openNetfront({ hypervisor: dying, clock: lab.clock, timeoutMs: Infinity });
      void first.then((netif) => netif.close()).catch(() => {});
      await lab.pass(200);
      // The kernel takes the dead process' grants and channels back.
      await lab.run(lab.guest.close());
      const guest = lab.machine.domain(1);
      const front = await lab.run(openNetfront({ hypervisor: guest, clock: lab.clock }));
      const back = await lab.run(backing);
      await untilConnected(lab, back);
      await expectTraffic(lab, front, listen(front), back, listen(back));
      await lab.run(Promise.all([front.close(), back.close()]));
      expect(lab.machine.use).toEqual(NOTHING);
      if (dying.left > 0) break;
      deaths++;
    }
    expect(deaths).toBeGreaterThan(40);
  });

  it('is followed by another backend', async () => {
    let deaths = 0;
    for (let operations = 0; ; operations++) {
      const lab = new Lab();
      await lab.attach();
      const fronting = lab.openFront({ timeoutMs: Infinity });
      const dying = mortal(lab.dom0, operations);
      const first = openNetback({ hypervisor: dying, clock: lab.clock, frontend: 1, timeoutMs: Infinity });
      void first.then((netif) => netif.close()).catch(() => {});
      await lab.pass(200);
      await lab.run(lab.dom0.close());
      const dom0 = lab.machine.domain(0);
      const back = await lab.run(openNetback({ hypervisor: dom0, clock: lab.clock, frontend: 1 }));
      const front = await lab.run(fronting);
      await untilConnected(lab, front);
      await expectTraffic(lab, front, listen(front), back, listen(back));
      await lab.run(Promise.all([front.close(), back.close()]));
      expect(lab.machine.use).toEqual(NOTHING);
      if (dying.left > 0) break;
      deaths++;
    }
    expect(deaths).toBeGreaterThan(40);
  });
});
