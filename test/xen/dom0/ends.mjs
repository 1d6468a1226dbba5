/**
 * What is shown of our frontend against Linux's backend, and of our backend
 * against Linux's frontend, alike.
 */
import { spawn } from 'node:child_process';
import { frontendFolder, openLinuxHypervisor } from 'mirage-net-direct/xen';
import { expectNothingShared, grantsInUse } from './grants.mjs';
import { check, expect, run, sleep, until } from './support.mjs';
import {
  attach,
  configure,
  detach,
  End,
  kernelInterface,
  OURS,
  Peer,
  ping,
  states,
  transfer,
  VIF,
  WWW,
} from './vif.mjs';

/**
 * Shapes of a connection: what our end is told, how the kernel's is set, and the
 * keys of the frontend by which the shape is known.
 */
const SPLIT = ['event-channel-rx', 'event-channel-tx'];
const SHAPES = [
  { name: 'all offloads', keys: SPLIT, segments: true },
  { name: 'no segmentation', options: { offloads: { checksum: true, segmentation: false } }, keys: SPLIT },
  { name: 'no scatter-gather, no offloads', options: { offloads: false, scatterGather: false }, keys: SPLIT },
  { name: 'one event channel', options: { splitChannels: false }, keys: ['event-channel'], segments: true },
  { name: 'MTU 9000', options: { mtu: 9000 }, mtu: 9000, keys: SPLIT, segments: true },
  {
    name: '2 queues',
    options: { queues: 2 },
    keys: ['queue-0', 'queue-1'],
    segments: true,
  },
];

/** MiB of the large transfer, and of the one for each shape of a connection. */
const [mib, smallMib] = (process.env.SIZES || '100:4').split(':').map(Number);

/**
 * @param role ours: `front` or `back`
 * @param driver Linux's module for the other one
 */
export async function checkEnd(role, driver) {
  const title = role === 'front' ? 'our netfront' : 'our netback';
  const hypervisor = await openLinuxHypervisor();
  const { store } = hypervisor;
  const file = `${WWW}/file`;
  const make = async (size) => {
    await run('sh', '-c', `mkdir -p ${WWW}; head -c ${size * 1024 * 1024} /dev/urandom > ${file}`);
    return (await run('sha256sum', file)).slice(0, 64);
  };
  await run('insmod', `/lib/modules/${driver}.ko`, 'max_queues=2');
  const baseline = await grantsInUse();
  const openPeer = async () => {
    await attach(store);
    const peer = new Peer(role);
    try {
      await peer.ready();
      await configure(role);
      return peer;
    } catch (error) {
      await peer.kill();
      await closed();
      throw error;
    }
  };
  const closed = async () => {
    await detach(store);
    await until('the interface to go', () => kernelInterface(role) === null);
  };
  /** That after all of it no grant is left, of those mapped and of those only made. */
  const settled = async () => {
    await closed();
    await until('the grants to go', async () => (await grantsInUse()) === baseline);
    return `${baseline} grants mapped before and after, ${expectNothingShared(hypervisor)}`;
  };
  /**
   * Before the next end of ours connects: Linux's frontend, once closed, stays so
   * until a toolstack plugs the card in anew; its backend begins again by itself.
   */
  const replug = async () => {
    if (role === 'front') return;
    await closed();
    await attach(store);
  };
  /** Runs `task` with our end and the kernel's connected. */
  const connected = async ({ options, mtu, keys = [], segments }, task) => {
    await attach(store, mtu);
    let ours;
    try {
      ours = await End.open(hypervisor, role, options);
      await configure(role, mtu);
      const there = (await store.list(frontendFolder(VIF))).filter((key) =>
        /^(event-channel|queue-)/.test(key),
      );
      if (keys.length > 0) expect(there.sort(), keys, "the frontend's keys");
      const result = await task(ours);
      await ours.close();
      const { rxErrors, txErrors, txBytes, txFrames } = ours.counters;
      expect([rxErrors, txErrors], [0, 0], 'errors of receiving and sending');
      // A megabyte in frames of many segments, or in ordinary ones.
      const mean = Math.round(txBytes / txFrames);
      expect(
        mean > 1514,
        segments === true,
        `whether frames of ${mean} bytes on average have several segments`,
      );
      return `${ours.terms}; frames sent of ${mean} bytes on average; ${result}`;
    } finally {
      await ours?.close();
      await closed();
    }
  };

  let hash = await make(smallMib);
  for (const { name, ...shape } of SHAPES) {
    const jumbo = shape.mtu === 9000 ? ['-s', '8000', '-M', 'do'] : [];
    await check(
      `${title}, ${name}: ping and ${smallMib} MiB each way`,
      () =>
        connected(shape, async () => {
          const time = await ping(3, ...jumbo);
          return `ping ${time}, ${await transfer(hash, smallMib)}`;
        }),
      { seconds: 600 },
    );
  }

  if (mib > smallMib) {
    hash = await make(mib);
    await check(
      `${title}: curl of ${mib} MiB, equal hash both ways`,
      () => connected({ segments: true }, () => transfer(hash, mib)),
      { seconds: 3000 },
    );
  }

  await check(
    `${title}: 20 times connected and disconnected, no grant left`,
    async () => {
      await attach(store);
      const channels = async () => (await run('lsevtchn')).split('\n').length;
      let first;
      try {
        for (let round = 0; round < 20; round++) {
          if (round > 0) await replug();
          const ours = await End.open(hypervisor, role);
          try {
            await configure(role);
            await ping(1);
          } finally {
            await ours.close();
          }
          if (round === 0) first = await channels();
        }
      } catch (error) {
        await closed();
        throw error;
      }
      const { front, back } = await states(store);
      expect(await channels(), first, 'event channels after the last round, compared with the first');
      return `${await settled()}; ${first} event channels; states ${front}/${back}`;
    },
    { seconds: 600 },
  );

  await check(
    `${title}: killed with -9, and its successor takes over`,
    async () => {
      const peer = await openPeer();
      await ping(2);
      const url = `http://${OURS}/file`;
      const curl = spawn('curl', ['-sS', '--limit-rate', '100k', '-o', '/dev/null', url], {
        stdio: 'ignore',
      });
      await sleep(300);
      await peer.kill();
      await replug();
      const next = new Peer(role, {});
      try {
        await next.ready();
        await configure(role);
        await ping(3);
        await next.close();
        return await settled();
      } finally {
        curl.kill();
        await next.kill();
        await closed();
      }
    },
    { seconds: 600 },
  );

  await check(
    `${title}: ${driver} unloaded under traffic and loaded again`,
    async () => {
      const peer = await openPeer();
      const flood = run('curl', '-sS', '--max-time', '10', '-o', '/dev/null', `http://${OURS}/file`).catch(
        () => 'cut off',
      );
      try {
        await sleep(500);
        // The module is in use for as long as it has a device.
        const [bus, device] = role === 'front' ? ['xen-backend', 'vif-0-0'] : ['xen', 'vif-0'];
        await run('sh', '-c', `echo ${device} > /sys/bus/${bus}/drivers/vif/unbind`);
        await run('rmmod', driver);
        await flood;
        await sleep(500);
        await run('insmod', `/lib/modules/${driver}.ko`, 'max_queues=2');
        // A toolstack runs its hotplug script for the new backend.
        await store.write('/local/domain/0/backend/vif/0/0/hotplug-status', 'connected');
        await until(
          'the connection',
          async () => {
            const { front, back } = await states(store);
            return front === 4 && back === 4;
          },
          60,
        );
        await configure(role);
        await ping(3);
        await peer.close();
        return await settled();
      } finally {
        await peer.kill();
        await closed();
      }
    },
    { seconds: 600 },
  );

  await run('rmmod', driver);
  await hypervisor.close();
}
