/**
 * The other end for measurements: TCP 5001 discards, 5002 sends without end,
 * 5003 echoes; UDP 7 echoes.
 *
 *     mirage-net run examples/bench-server.ts --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24
 *     head -c 10G /dev/zero | nc -N 10.0.0.2 5001
 *     nc 10.0.0.2 5002 | head -c 10G > /dev/null
 */
import type { Flow, Stack } from 'mirage-net-direct';

const BLOCK = new Uint8Array(256 * 1024);

export default async function benchServer(stack: Stack): Promise<void> {
  const serve = (port: number, service: (flow: Flow) => Promise<void>) =>
    stack.tcp.listen({ port }, (flow) => {
      // A peer that goes away in the middle is how most measurements end.
      service(flow).catch(() => flow.abort());
    });
  await serve(5001, discard);
  await serve(5002, generate);
  await serve(5003, echo);
  const socket = await stack.udp.bind({ port: 7 });
  console.log('TCP 5001 discards, 5002 sends, 5003 echoes; UDP 7 echoes');
  for await (const { data, remote } of socket) {
    await socket.send(data, { host: remote.address, port: remote.port }).catch(() => {});
  }
}

async function discard(flow: Flow): Promise<void> {
  await flow.onData(() => {});
  await flow.close();
}

async function generate(flow: Flow): Promise<void> {
  let wanted = true;
  const send = async (): Promise<void> => {
    while (wanted) await flow.write(BLOCK);
  };
  const watch = async (): Promise<void> => {
    await flow.onData(() => {});
    wanted = false;
  };
  await Promise.all([send(), watch()]);
  await flow.close();
}

async function echo(flow: Flow): Promise<void> {
  // What is written must stay as it is, and a view does not.
  await flow.onData((view) => flow.write(Buffer.from(view)));
  await flow.close();
}
