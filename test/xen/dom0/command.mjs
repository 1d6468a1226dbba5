/** The command, as a person would use it in the control domain. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openLinuxHypervisor } from 'mirage-net-direct/xen';
import { grantsInUse } from './grants.mjs';
import { check, expect, run, until } from './support.mjs';
import { configure, kernelInterface, OURS, ping, states } from './vif.mjs';

const command = (...words) => run(process.execPath, 'mirage-net.mjs', ...words);
const hypervisor = await openLinuxHypervisor();
await run('insmod', '/lib/modules/xen-netback.ko');
const baseline = await grantsInUse();

await check(
  'mirage-net xen attach, run --netif xen:0, xen detach',
  async () => {
    const attached = await command('xen', 'attach', '--mac', '00:16:3e:00:00:07');
    expect(
      attached.split('\n').slice(0, 3),
      ['/local/domain/0/device/vif/0', '/local/domain/0/backend/vif/0/0', '00:16:3e:00:00:07'],
      'what it says',
    );
    await command('xen', 'attach').then(
      () => Promise.reject(new Error('a second card in the same place')),
      (error) => expect(/There is a card/.test(error.message), true, `whether ${error.message} says why`),
    );
    const words = ['run', 'web-server.mjs', '--netif', 'xen:0', '--ip', `${OURS}/24`, '--', '/test'];
    const runner = spawn(process.execPath, ['mirage-net.mjs', ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const exit = once(runner, 'exit');
    let said = '';
    for (const stream of [runner.stdout, runner.stderr]) stream.on('data', (chunk) => (said += chunk));
    try {
      await until('that it serves', () => said.includes('Serving'), 300);
      await configure('front');
      await ping(3);
      const page = await run('curl', '-sS', '--fail', '--max-time', '120', `http://${OURS}/peer.mjs`);
      expect(page === (await run('cat', 'peer.mjs')), true, 'whether the file is the same');
      await command('xen', 'detach');
      // The card is gone, which the runner says and ends with.
      expect((await exit)[0], 1, `the exit code (${said})`);
      expect(/the network interface is gone/.test(said), true, `whether it says why (${said})`);
      expect(await states(hypervisor.store), { front: 0, back: 0 }, 'the states left in xenstore');
      await until('the interface to go', () => kernelInterface('front') === null);
      await until('the grants to go', async () => (await grantsInUse()) === baseline);
      return said.split('\n').find((line) => line.includes('runs on'));
    } finally {
      runner.kill('SIGKILL');
    }
  },
  { seconds: 600 },
);

await run('rmmod', 'xen-netback');
await hypervisor.close();
