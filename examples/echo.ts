/**
 * Sends back what it receives, on TCP and UDP port 7 (RFC 862).
 *
 *     mirage-net run examples/echo.ts --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24
 *     nc 10.0.0.2 7
 */
import { parseArgs } from 'node:util';
import type { Flow, Stack, UdpSocket } from 'mirage-net-direct';

export default async function echo(stack: Stack, args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { port: { type: 'string', default: '7' } } });
  const port = Number(values.port);
  await stack.tcp.listen({ port }, (flow) => {
    echoFlow(flow).catch((error: Error) => console.error(`${flow.remote.address}: ${error.message}`));
  });
  const socket = await stack.udp.bind({ port });
  console.log(`Echo on TCP and UDP port ${port}`);
  await echoDatagrams(socket);
}

async function echoFlow(flow: Flow): Promise<void> {
  // A peer that does not read makes write() wait, and then nothing is read from it either.
  for await (const chunk of flow) await flow.write(chunk);
  await flow.close();
}

async function echoDatagrams(socket: UdpSocket): Promise<void> {
  for await (const { data, remote } of socket) {
    await socket
      .send(data, { host: remote.address, port: remote.port })
      .catch((error: Error) => console.error(`${remote.address}: ${error.message}`));
  }
}
