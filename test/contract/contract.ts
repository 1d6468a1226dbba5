import { describe, it } from 'vitest';
import type { Flow, Listener, Stack } from '../../src/stack.ts';
import { tcpContract } from './tcp.ts';
import { tcpEndingsContract } from './tcp-endings.ts';
import { udpContract } from './udp.ts';

/** Two stacks that reach each other, made anew for every case. */
export interface Network {
  readonly client: Stack;
  readonly server: Stack;
  readonly serverAddress: string;
  /** Where the client's packets come from. */
  readonly clientAddress?: string;
  /** Swallows what is sent to it: a connection there times out. */
  readonly blackHole?: { readonly host: string; readonly port: number };
  /** A broadcast address of the client's network. */
  readonly broadcastAddress?: string;
  /** Drives the clock until `promise` settles; real time passes by itself. */
  run?<T>(promise: Promise<T>): Promise<T>;
  /** In the network's own time. */
  sleep?(ms: number): Promise<void>;
  /** Closes both stacks and what is between them. */
  close(): Promise<void>;
}

/** What the cases may expect of the network. */
export interface Traits {
  /** `Network.blackHole` is set. */
  readonly blackHole?: boolean;
  /** `Network.broadcastAddress` is set. */
  readonly broadcast?: boolean;
  /** Packets get lost: cases that stand or fall with a single packet are left out. */
  readonly lossy?: boolean;
  /** Bytes each way of the bulk case; 8 MiB unless given. */
  readonly bulkBytes?: number;
}

/** What the cases of one suite are written with. */
export interface Suite {
  readonly traits: Traits;
  /** One case, on a network of its own. With `needs` false it is no case of this suite. */
  scenario(title: string, body: (network: Scene) => Promise<void>, needs?: boolean): void;
}

export type Scene = Network & { sleep(ms: number): Promise<void> };

const CASE_TIMEOUT_MS = 60_000;

/** What every `Stack` promises (src/stack.ts), as tests over any pair of stacks. */
export function stackContract(name: string, setup: () => Promise<Network>, traits: Traits = {}): void {
  const suite: Suite = {
    traits,
    scenario(title, body, needs = true) {
      if (!needs) return;
      it(
        title,
        async () => {
          const network = await setup();
          const run = network.run ?? (<T>(promise: Promise<T>) => promise);
          const sleep =
            network.sleep ?? ((ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)));
          try {
            await run(body({ ...network, sleep }));
          } finally {
            await run(network.close());
          }
        },
        CASE_TIMEOUT_MS,
      );
    },
  };
  describe(`the contract of a stack: ${name}`, () => {
    tcpContract(suite);
    tcpEndingsContract(suite);
    udpContract(suite);
  });
}

/** A connection from the client to the server, both ends of it. */
export async function connected(
  network: Network,
): Promise<{ client: Flow; server: Flow; listener: Listener }> {
  let resolve!: (flow: Flow) => void;
  const promise = new Promise<Flow>((done) => {
    resolve = done;
  });
  const listener = await network.server.tcp.listen({ port: 0 }, resolve);
  const client = await network.client.tcp.connect({
    host: network.serverAddress,
    port: listener.local.port,
  });
  return { client, server: await promise, listener };
}

export function familyOf(address: string): 'IPv4' | 'IPv6' {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

/** A port of the server that nothing listens on. */
export async function closedPort(network: Network): Promise<number> {
  const listener = await network.server.tcp.listen({ port: 0 }, () => {});
  await listener.close();
  return listener.local.port;
}

/** Everything up to the end of the stream. */
export async function readAll(flow: Flow): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of flow) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** At least `size` bytes, or fewer at the end of the stream. */
export async function readBytes(flow: Flow, size: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let got = 0;
  while (got < size) {
    const chunk = await flow.read();
    if (chunk === null) break;
    chunks.push(chunk);
    got += chunk.length;
  }
  return Buffer.concat(chunks);
}

/** The code of the error that ends a flow's reading, or null where it ends in order. */
export async function howItEnds(flow: Flow): Promise<string | null> {
  try {
    while ((await flow.read()) !== null);
    return null;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** Waits, in the network's time, until `holds`; fails after ten seconds. */
export async function eventually(network: Scene, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    if (waited >= 10_000) throw new Error(`does not come true within ${waited} ms: ${holds}`);
    await network.sleep(10);
  }
}
