/** The devices under /dev/xen against themselves: everything that netfront and netback stand on. */
import { openLinuxHypervisor } from 'mirage-net-direct/xen';
import { connectXenstored } from '../../../dist/netif/xen/linux/xenbus.js';
import { XenstoreClient } from '../../../dist/netif/xen/xenstore.js';
import { expectNothingShared, grantsInUse } from './grants.mjs';
import { check, expect, rejects, run, until } from './support.mjs';

const xen = await openLinuxHypervisor();
const { store, grants, events } = xen;
const TEST = '/local/domain/0/mirage-net-test';

await check('xenstore: the domain knows its number', async () => expect(xen.domain, 0, 'the domain'));

await check('xenstore: nodes are written, read, listed, removed', async () => {
  await store.write(`${TEST}/a/b`, 'wörld');
  await store.makeDirectory(`${TEST}/a/c`);
  expect(await store.read(`${TEST}/a/b`), 'wörld', 'the value');
  expect(
    await run('xenstore-read', `${TEST}/a/b`).then((text) => text.length > 0),
    true,
    'what xenstore-read finds',
  );
  expect((await store.list(`${TEST}/a`)).sort(), ['b', 'c'], 'the list');
  expect(await store.read('mirage-net-test/a/c'), '', 'a node that has no value, by a relative path');
  await store.remove(`${TEST}/a`);
  await store.remove(`${TEST}/a`);
  await store.remove(`${TEST}/none/at/all`);
  expect(await store.read(`${TEST}/a/b`), null, 'a removed node');
  expect(await store.list(`${TEST}/a`), null, 'a removed folder');
});

await check('xenstore: permissions are those that xenstore-ls shows', async () => {
  await store.makeDirectory(`${TEST}/p`);
  await store.setPermissions(`${TEST}/p`, ['n0', 'r7']);
  const listed = await run('xenstore-ls', '-p', TEST);
  if (!/p = "".*\(n0,r7\)/.test(listed)) throw new Error(listed);
});

await check('xenstore: 600 children, more than a message holds', async () => {
  const names = Array.from({ length: 600 }, (_, index) => `child-number-${index}`);
  await Promise.all(names.map((name) => store.write(`${TEST}/many/${name}`, '')));
  expect((await store.list(`${TEST}/many`)).sort(), [...names].sort(), 'the list');
  await store.remove(`${TEST}/many`);
});

await check('xenstore: a transaction in conflict runs again', async () => {
  await store.write(`${TEST}/counter`, '0');
  let runs = 0;
  const add = () =>
    store.transaction(async (access) => {
      runs++;
      const value = Number(await access.read(`${TEST}/counter`));
      // Someone else writes in between, the first time.
      if (runs === 1) await store.write(`${TEST}/counter`, '10');
      await access.write(`${TEST}/counter`, String(value + 1));
    });
  await add();
  expect(runs, 2, 'how often it ran');
  expect(await store.read(`${TEST}/counter`), '11', 'the counter');
  await Promise.all(Array.from({ length: 8 }, add));
  expect(await store.read(`${TEST}/counter`), '19', 'the counter after 8 at once');
  await store
    .transaction(async (access) => {
      await access.write(`${TEST}/counter`, '99');
      throw new Error('no');
    })
    .catch(() => {});
  expect(await store.read(`${TEST}/counter`), '19', 'the counter after a transaction that threw');
  return `${runs} runs for 9 transactions`;
});

await check('xenstore: a watch hears of changes, and of none once closed', async () => {
  const heard = [];
  await store.makeDirectory(`${TEST}/w`);
  const watch = await store.watch(`${TEST}/w`, (path) => heard.push(path));
  await until('the first call', () => heard.length > 0);
  await run('xenstore-write', `${TEST}/w/state`, '4');
  await until('the change', () => heard.includes(`${TEST}/w/state`));
  await watch.close();
  const count = heard.length;
  await run('xenstore-write', `${TEST}/w/state`, '5');
  expect(await store.read(`${TEST}/w/state`), '5', 'the value');
  expect(heard.length, count, 'calls');
});

await check("xenstore: through xenstored's socket as through the kernel", async () => {
  const client = new XenstoreClient(connectXenstored('/run/xenstored/socket'));
  await client.write(`${TEST}/socket`, '1');
  expect(await store.read(`${TEST}/socket`), '1', 'the value');
  await rejects(client.read('not//a/path'), 'EINVAL');
  client.close();
});

await check('grants: a page that is shared and mapped is the same memory', async () => {
  const shared = grants.share(0, 4, true);
  expect(shared.bytes.length, 16384, 'bytes');
  expect(
    shared.bytes.every((byte) => byte === 0),
    true,
    'whether it is zeroed',
  );
  const mapped = grants.map(0, shared.references);
  shared.bytes[4097] = 17;
  mapped.bytes[12300] = 18;
  expect([mapped.bytes[4097], shared.bytes[12300]], [17, 18], 'what each sees of the other');
  expect(await grantsInUse(), 4, 'what the hypervisor counts');
  mapped.unmap();
  mapped.unmap();
  shared.end();
  shared.end();
  expect([mapped.bytes[4097], shared.bytes[12300]], [0, 0], 'what is seen afterwards');
});

await check('grants: a reference that is none is an error', async () => {
  await rejects((async () => grants.map(0, [999_999]))(), 'EINVAL');
});

await check('grants: copies go both ways, and a bad reference fails alone', async () => {
  const shared = grants.share(0, 2, true);
  const memory = grants.localMemory(20_000);
  const copier = grants.copier(0, 8);
  memory.bytes.fill(5);
  shared.bytes.fill(7, 0, 4096);
  copier.push(shared.references[1], 100, memory, 3000, 3996);
  copier.push(999_999, 0, memory, 0, 10);
  copier.pull(shared.references[0], 4000, memory, 9000, 96);
  copier.run();
  expect(
    [copier.count, copier.status(0), copier.status(1) < 0, copier.status(2)],
    [3, 0, true, 0],
    'the statuses',
  );
  expect(
    [shared.bytes[4096 + 99], shared.bytes[4096 + 100], shared.bytes[8191]],
    [0, 5, 5],
    'what was pushed',
  );
  expect(
    [memory.bytes[8999], memory.bytes[9000], memory.bytes[9095], memory.bytes[9096]],
    [5, 7, 7, 5],
    'what was pulled',
  );
  copier.clear();
  expect(copier.count, 0, 'the count');
  shared.end();
});

await check('grants: a page granted for reading cannot be written', async () => {
  const shared = grants.share(0, 1, false);
  const memory = grants.localMemory(4096);
  const copier = grants.copier(0, 1);
  memory.bytes.fill(9);
  copier.push(shared.references[0], 0, memory, 0, 4096);
  copier.run();
  expect(copier.status(0) < 0, true, 'whether it fails');
  expect(shared.bytes[0], 0, 'the byte');
  shared.end();
});

await check('grants: 200 times 64 pages leave none behind', async () => {
  const before = await grantsInUse();
  for (let round = 0; round < 200; round++) {
    const shared = grants.share(0, 64, true);
    const mapped = grants.map(0, shared.references.slice(0, 8));
    mapped.unmap();
    shared.end();
  }
  expect(await grantsInUse(), before, 'grants in use');
  return `${before} mapped, ${expectNothingShared(xen)}`;
});

await check('grants: more than the module allows is ENOSPC, and leaves none behind', async () => {
  const before = await grantsInUse();
  await rejects((async () => grants.share(0, 4000, true))(), 'ENOSPC');
  expect(await grantsInUse(), before, 'grants in use');
});

await check(
  'events: reach the other end, once until unmasked',
  async () => {
    let calls = 0;
    const near = events.listen(0, () => {});
    const far = events.bind(0, near.port, () => calls++);
    await until('the call after binding', () => calls > 0).catch(() => {});
    far.unmask();
    calls = 0;
    near.notify();
    await until('the call', () => calls === 1);
    near.notify();
    near.notify();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(calls, 1, 'calls while masked');
    far.unmask();
    await until('the call after unmask', () => calls === 2);
    far.close();
    near.close();
    near.notify();
  },
  { seconds: 240 },
);

await check('events: a port that nobody offers is an error', async () => {
  await rejects((async () => events.bind(0, 4000, () => {}))(), 'EINVAL');
});

await check('events: 1000 there and back', async () => {
  let count = 0;
  let done;
  const finished = new Promise((resolve) => {
    done = resolve;
  });
  const near = events.listen(0, () => {
    near.unmask();
    if (++count === 1000) done();
    else near.notify();
  });
  const far = events.bind(0, near.port, () => {
    far.unmask();
    far.notify();
  });
  const begin = performance.now();
  near.notify();
  await finished;
  near.close();
  far.close();
  return `${(performance.now() - begin).toFixed(0)} µs each`;
});

await store.remove(TEST);
await xen.close();
