/**
 * A chat room on TCP port 6667: every line that a client sends goes to all others.
 *
 *     mirage-net run examples/chat.ts --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24
 *     nc 10.0.0.2 6667      (in several terminals)
 */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { Flow, Stack } from 'mirage-net-direct';
import { duplexOf } from 'mirage-net-direct/net';

/** A client that is this far behind (bytes) is shown out, so that one slow reader costs the others nothing. */
const MOST_UNREAD = 1 << 20;

interface Client {
  readonly name: string;
  readonly flow: Flow;
}

export default async function chat(stack: Stack, args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { port: { type: 'string', default: '6667' } } });
  const port = Number(values.port);
  const room = new Set<Client>();
  await stack.tcp.listen({ port }, (flow) => {
    attend(room, flow).catch((error: Error) => console.error(`${flow.remote.address}: ${error.message}`));
  });
  console.log(`Chat room on port ${port}`);
}

async function attend(room: Set<Client>, flow: Flow): Promise<void> {
  const client = { name: `${flow.remote.address}:${flow.remote.port}`, flow };
  room.add(client);
  say(client, `You are ${client.name}; ${room.size - 1} others are here.`);
  tell(room, client, `* ${client.name} came`);
  try {
    for await (const line of createInterface({ input: duplexOf(flow), crlfDelay: 100 })) {
      tell(room, client, `${client.name}: ${line}`);
    }
  } finally {
    room.delete(client);
    tell(room, client, `* ${client.name} left`);
  }
  await flow.close();
}

function tell(room: Set<Client>, from: Client, text: string): void {
  for (const client of room) if (client !== from) say(client, text);
}

function say({ flow }: Client, text: string): void {
  if (flow.stats.sendQueue > MOST_UNREAD) flow.abort();
  // A client that has gone is seen by its own loop in attend().
  else flow.write(Buffer.from(`${text}\n`)).catch(() => {});
}
