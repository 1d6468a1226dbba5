/** A domain made by `mirage-net build --target xen`, started by xl: dom0 is its client. */
import { openLinuxHypervisor } from 'mirage-net-direct/xen';
import { grantsInUse } from './grants.mjs';
import { check, expect, run, until } from './support.mjs';
import { OURS, ping } from './vif.mjs';

const FOLDER = '/unikernel';
const CONSOLE = '/var/log/xen/guest-web-server.log';
const hypervisor = await openLinuxHypervisor();
const { store } = hypervisor;
const said = () => run('cat', CONSOLE).catch(() => '');

await run('insmod', '/lib/modules/xen-netback.ko');
let domain;

await check(
  'unikernel: xl starts it, and its web server answers',
  async () => {
    const begin = performance.now();
    await run('xl', 'create', `${FOLDER}/web-server.xl`);
    domain = Number(await run('xl', 'domid', 'web-server'));
    await until('its backend', () => run('ip', 'link', 'show', `vif${domain}.0`).catch(() => null));
    await until('that it serves', async () => /Serving \/srv on port 80/.test(await said()), 150);
    const page = await run('curl', '-sS', '--fail', '--max-time', '60', `http://${OURS}/`);
    expect(page.includes('unikernel'), true, `whether the page is ours: ${page}`);
    return `${((performance.now() - begin) / 1000).toFixed(1)} s from xl create to the page`;
  },
  { seconds: 600 },
);

await check(
  'unikernel: ping, and a file fetched and sent back with equal hash',
  async () => {
    const time = await ping(5);
    const url = `http://${OURS}/file`;
    const hash = (await run('sha256sum', `${FOLDER}/file`)).slice(0, 64);
    const down = await run('sh', '-c', `set -o pipefail; curl -sS --fail --max-time 200 ${url} | sha256sum`);
    expect(down.slice(0, 64), hash, 'the hash of what curl fetched');
    const up = await run('curl', '-sS', '--fail', '--max-time', '200', '-T', `${FOLDER}/file`, url);
    expect(up.slice(0, 64), hash, 'the hash that the unikernel computed');
    return `ping ${time}`;
  },
  { seconds: 600 },
);

await check('unikernel: the ring is ours, made by its frontend', async () => {
  const front = `/local/domain/${domain}/device/vif/0`;
  expect(await store.read(`${front}/state`), '4', 'the state');
  const used = await grantsInUse(domain);
  if (used === 0) throw new Error('the domain has granted nothing');
  return `${used} of its pages granted`;
});

await check(
  'unikernel: the kernel in it has no network: no interface but lo, which is down, and no socket',
  async () => {
    // Before the application began, and after it had served.
    await run('xl', 'shutdown', 'web-server');
    await until('the end of the domain', async () => !(await run('xl', 'list')).includes('web-server'), 60);
    const text = await said();
    const lines = text.match(/the kernel's network: .*/g) ?? [];
    const wanted = "the kernel's network: interfaces: lo down; sockets: tcp 0, tcp6 0, udp 0, udp6 0";
    expect(
      lines.map((line) => line.trim()),
      [wanted, wanted],
      'what it says',
    );
    return wanted;
  },
  { seconds: 240 },
);

await check('unikernel: xl shutdown closes it in order, with exit code 0', async () => {
  const text = await said();
  expect(/SIGTERM: closing connections/.test(text), true, 'whether it closed its connections');
  expect(/ends with exit code (\d+)/.exec(text)?.[1], '0', 'its exit code');
});

for (const line of (await said()).split(/[\r\n]+/)) console.log(`domU: ${line}`);
await until('the driver to be unused', () =>
  run('rmmod', 'xen-netback').then(
    () => true,
    () => false,
  ),
);
await hypervisor.close();
