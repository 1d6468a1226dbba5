import { mkdtemp } from 'node:fs/promises';
import { createServer, get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectStack } from '../direct/index.ts';
import { duplexOf } from '../net/index.ts';
import { capture, createCable, type Netif, NO_OFFLOADS, type Offloads } from '../netif/index.ts';
import type { Flow, Stack } from '../stack.ts';
import { RealClock } from '../time/index.ts';
import { captureFile } from './capture-file.ts';
import type { CommandIo } from './io.ts';

const CLIENT = '10.0.0.1';
const SERVER = '10.0.0.2';
const WITH_OFFLOADS: Offloads = { checksum: 'partial', segmentation: 65_549 };

const PAGE = `<!doctype html>
<title>Hello</title>
<h1>Hello from a TCP/IP stack in TypeScript</h1>
<p>Every packet that carried this page was made in one Node process.</p>
`;

const NEXT = `What to try next
  With a real kernel on the other end (Linux, as root):
    sudo npx mirage-net run examples/web-server.ts --netif tap:mnd0 \\
         --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 -- docs
    curl http://10.0.0.2/

  The same application on the host's own sockets, unprivileged:
    npx mirage-net run examples/web-server.ts --net socket -- --port 8080 docs
    curl http://127.0.0.1:8080/

  All options, such as --impair loss=1%,delay=30ms:
    npx mirage-net help run
`;

interface DemoOptions {
  /** How long throughput is measured, in total. */
  readonly seconds: number;
  readonly pcap?: string;
}

/** Two hosts on a virtual cable: a page is fetched, a capture written, throughput measured. */
export async function demo(options: DemoOptions, io: Pick<CommandIo, 'stdout'>): Promise<void> {
  const say = (text: string): void => {
    io.stdout.write(`${text}\n`);
  };
  say(`Two hosts in this one process, each with its own TCP/IP stack:

  client ${CLIENT} ──── virtual cable ──── ${SERVER} server
`);
  await fetchPage(options.pcap ?? join(await mkdtemp(join(tmpdir(), 'mirage-net-')), 'demo.pcap'), say);
  await measure(options.seconds * 500, say);
  say(NEXT);
}

async function fetchPage(pcap: string, say: (text: string) => void): Promise<void> {
  const clock = new RealClock();
  const [near, far] = createCable({ clock });
  const sink = captureFile(pcap);
  const captured = capture(near, sink, { clock, epochMs: Date.now() - clock.now() });
  const [client, server] = await twoHosts(captured, far);
  const http = createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.setHeader('Connection', 'close');
    response.end(request.url === '/' ? PAGE : undefined);
  });
  await server.tcp.listen({ port: 80 }, (flow) => http.emit('connection', duplexOf(flow)));

  const begin = performance.now();
  const flow = await client.tcp.connect({ host: SERVER, port: 80 });
  const connectMs = performance.now() - begin;
  const { status, body } = await request(flow);
  const totalMs = performance.now() - begin;
  say(`A page, fetched with Node's http over our TCP
  connected from port ${flow.local.port} after ${connectMs.toFixed(1)} ms (ARP, SYN, SYN-ACK, ACK)
  GET http://${SERVER}/ → ${status}, ${body.length} bytes after ${totalMs.toFixed(1)} ms:

${body.replace(/^/gm, '    ').trimEnd()}
`);
  await client.close();
  await server.close();
  await sink.end();
  const { rxFrames, txFrames } = near.counters;
  say(`Every frame of it is in a capture file (${rxFrames + txFrames} frames); look with Wireshark, or
  tshark -r ${pcap}
`);
}

function request(flow: Flow): Promise<{ status: string; body: string }> {
  return new Promise((resolve, reject) => {
    const onResponse = async (response: IncomingMessage): Promise<void> => {
      let body = '';
      response.setEncoding('utf8');
      for await (const chunk of response) body += chunk;
      resolve({ status: `${response.statusCode} ${response.statusMessage}`, body });
    };
    get({ host: SERVER, path: '/', createConnection: () => duplexOf(flow) }, (response) => {
      onResponse(response).catch(reject);
    }).on('error', reject);
  });
}

async function measure(durationMs: number, say: (text: string) => void): Promise<void> {
  say('Throughput over the cable, one connection, both stacks on this one thread');
  say(`  ordinary frames of 1514 bytes         ${await throughput(NO_OFFLOADS, durationMs)}`);
  say(`  with checksum and segment offloads    ${await throughput(WITH_OFFLOADS, durationMs)}`);
  say(`  The second moves data from memory to memory: nothing is cut into packets and no checksum
  is made. It says what the layers cost, not what a network would carry, and varies a lot.
`);
}

async function throughput(offloads: Offloads, durationMs: number): Promise<string> {
  const [client, server] = await twoHosts(...createCable({ clock: new RealClock(), offloads }));
  let received = 0;
  await server.tcp.listen({ port: 5001 }, (flow) => {
    const discard = async (): Promise<void> => {
      for (let chunk = await flow.read(); chunk !== null; chunk = await flow.read()) received += chunk.length;
      await flow.close();
    };
    // It ends when the measurement does.
    discard().catch(() => {});
  });
  const flow = await client.tcp.connect({ host: SERVER, port: 5001 });
  const block = new Uint8Array(256 * 1024);
  const begin = performance.now();
  while (performance.now() - begin < durationMs) await flow.write(block);
  const gigabits = (received * 8) / ((performance.now() - begin) * 1e6);
  flow.abort();
  await client.close();
  await server.close();
  return `${gigabits.toFixed(2)} Gbit/s`;
}

async function twoHosts(near: Netif, far: Netif): Promise<[Stack, Stack]> {
  const client = new DirectStack({ netif: near, ipv4: `${CLIENT}/24` });
  const server = new DirectStack({ netif: far, ipv4: `${SERVER}/24` });
  await Promise.all([client.ready(), server.ready()]);
  return [client, server];
}
