/**
 * Our end of a vif as a process of its own, so that it can be killed: the web
 * server of the examples over a netfront or a netback. Its one argument is JSON:
 * { role, vif, address, folder, options }. On SIGTERM it closes in order and
 * prints its counters.
 */
import { DirectStack } from 'mirage-net-direct';
import { openLinuxHypervisor, openNetback, openNetfront } from 'mirage-net-direct/xen';
import webServer from '../../../examples/web-server.ts';

const { role, vif, address, folder, options } = JSON.parse(process.argv[2]);
const hypervisor = await openLinuxHypervisor();
const common = { hypervisor, index: vif.index, timeoutMs: 300_000, ...options };
const netif =
  role === 'front' ? await openNetfront(common) : await openNetback({ ...common, frontend: vif.frontend });
const stack = new DirectStack({
  netif,
  ipv4: address,
  onDown: (error) => console.log(`PEER down: ${error?.message ?? 'closed'}`),
});
await stack.ready();
await webServer(stack, [folder]);
const { checksum, segmentation } = netif.transmit;
console.log(`PEER ready ${JSON.stringify({ mtu: netif.mtu, checksum, segmentation })}`);
process.on('SIGUSR2', () => console.log(`PEER counters ${JSON.stringify(netif.counters)}`));
process.on('SIGTERM', async () => {
  await stack.close();
  await hypervisor.close();
  console.log(`PEER closed ${JSON.stringify(netif.counters)}`);
});
