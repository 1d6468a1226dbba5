/**
 * The embedding API: two hosts on a virtual switch in one process; no device, no
 * privilege.
 *
 *     node examples/two-hosts.ts        (Node 22.18 or later)
 *     npx tsx examples/two-hosts.ts     (Node 20)
 */
import { DirectStack, RealClock } from 'mirage-net-direct';
import { Switch } from 'mirage-net-direct/link';

const lan = new Switch({ clock: new RealClock() });
const alice = new DirectStack({ netif: lan.port(), ipv4: '10.0.0.1/24' });
const bob = new DirectStack({ netif: lan.port(), ipv4: '10.0.0.2/24' });
await Promise.all([alice.ready(), bob.ready()]);

// Bob answers in capitals until Alice says that she is done.
await bob.tcp.listen({ port: 7 }, async (flow) => {
  for await (const chunk of flow) await flow.write(Buffer.from(Buffer.from(chunk).toString().toUpperCase()));
  await flow.close();
});

const flow = await alice.tcp.connect({ host: '10.0.0.2', port: 7 });
await flow.write(Buffer.from('hello over our own tcp\n'));
await flow.shutdown();
for await (const chunk of flow) process.stdout.write(chunk);
console.log(`round trip ${flow.stats.rttMs.toFixed(2)} ms, state ${flow.stats.state}`);
await flow.close();

await alice.close();
await bob.close();
