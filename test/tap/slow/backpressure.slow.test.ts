import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canTap } from '../support/kernel-host.ts';
import { ProgramHost, type Running } from '../support/program.ts';
import { sizeFromEnvironment } from './running-server.ts';

const BYTES = sizeFromEnvironment('BACKPRESSURE_MIB', 512);

/**
 * How far the peak of memory of the program on the stack may be in the second half of the bytes above that in the
 * first: its garbage collector's moods, and far from the bytes that pass.
 */
const GROWTH_MIB = 64;
/** And what it may need at all, whatever the number of bytes; it begins with 65 MiB. */
const MOST_MIB = 256;

/** What both ends know of the bytes: a block that does not repeat within itself, again and again. */
const COMMON = `
const { createCipheriv } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { Readable, Writable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const BYTES = ${BYTES};
const block = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(1 << 20));

/** All bytes, made when they are asked for. */
const source = () => {
  let left = BYTES;
  return new Readable({
    highWaterMark: 1 << 16,
    read() {
      const part = Math.min(left, 1 << 16), at = (BYTES - left) % block.length;
      left -= part;
      this.push(part === 0 ? null : block.subarray(at, at + part));
    },
  });
};

/** Checks every byte; stands still for two seconds when the first 8 MiB are there, and half a second after every GiB. */
const sink = () => {
  let count = 0, rest = 2000, restAt = 8 << 20;
  const stream = new Writable({
    write(chunk, _encoding, done) {
      for (let i = 0; i < chunk.length; ) {
        const at = count % block.length, part = Math.min(chunk.length - i, block.length - at);
        if (block.compare(chunk, i, i + part, at, at + part) !== 0) return done(new Error('wrong bytes at ' + count));
        i += part;
        count += part;
      }
      if (count < restAt) return done();
      restAt = (Math.floor(count / 2 ** 30) + 1) * 2 ** 30;
      setTimeout(done, rest);
      rest = 500;
    },
  });
  return stream.on('finish', () => console.log('got ' + count));
};
`;

const SERVER = `${COMMON}
const [address, port] = process.argv.slice(2);
http.createServer((_request, response) => pipeline(source(), response).catch((error) => console.log(error)))
  .listen(Number(port), address, () => console.log('listening'));
`;

const CLIENT = `${COMMON}
(async () => {
  const [response] = await once(http.get(process.argv[2]), 'response');
  await pipeline(response, sink());
})();
`;

const PROXY = `${COMMON}
http.createServer(async (_request, response) => {
  const [answer] = await once(http.get('http://10.0.0.1:8080/'), 'response');
  await pipeline(answer, response);
}).listen(80, () => console.log('listening'));
`;

describe.skipIf(canTap() !== null)('backpressure from end to end', () => {
  let host: ProgramHost;
  beforeEach(() => {
    host = new ProgramHost();
    for (const [name, text] of Object.entries({ SERVER, CLIENT, PROXY })) host.write(`${name}.cjs`, text);
  });
  afterEach(() => host.close());

  const PCAP = `${ProgramHost.NETIF} --pcap run.pcap --snaplen 80`;
  const options = { env: { MIRAGE_NET: PCAP } };

  async function startServer(): Promise<void> {
    const server = host.start(process.execPath, ['SERVER.cjs', '10.0.0.1', '8080']);
    await server.said('listening');
  }

  /** Waits until `client` has all; gives the peaks of the memory of `program` in both halves of that time, in MiB. */
  async function peaks(program: Running, client: Running): Promise<[first: number, second: number]> {
    const samples: number[] = [];
    const begun = performance.now();
    const watch = setInterval(() => samples.push(rssMib(program.child.pid!)), 50);
    const { stdout, stderr, code } = await client.ended;
    clearInterval(watch);
    expect([stdout, stderr, code]).toEqual([`got ${BYTES}\n`, '', 0]);
    const half = samples.length >> 1;
    const first = Math.max(...samples.slice(0, half));
    const second = Math.max(...samples.slice(half));
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(
      `${BYTES / 2 ** 20} MiB in ${seconds} s; RSS at most ${first.toFixed(0)} MiB in the first half, ${second.toFixed(0)} in the second`,
    );
    return [first, second];
  }

  /** Segments of ours that closed the window of a peer, in the capture. */
  async function closedWindows(program: Running): Promise<number> {
    program.child.kill('SIGTERM');
    await program.ended;
    const ours = 'ip.src == 10.0.0.2 && tcp.dstport == 8080 && tcp.window_size == 0';
    const filter = `${ours} && tcp.flags.reset == 0 && tcp.flags.syn == 0`;
    const { stdout } = await promisify(execFile)(
      'tshark',
      ['-r', 'run.pcap', '-Y', filter, '-T', 'fields', '-e', 'frame.number'],
      { cwd: host.folder, maxBuffer: 1 << 26 },
    );
    return stdout.split('\n').filter((line) => line !== '').length;
  }

  it('a proxy passes everything on at the pace of a slow client', async () => {
    const program = host.register('PROXY.cjs', options);
    await program.said('listening');
    await startServer();
    const client = host.start(process.execPath, ['CLIENT.cjs', 'http://10.0.0.2/']);
    const [first, second] = await peaks(program, client);
    expect(second - first).toBeLessThan(GROWTH_MIB);
    expect(Math.max(first, second)).toBeLessThan(MOST_MIB);
    expect(await closedWindows(program)).toBeGreaterThan(0);
  });

  it('a download through a pipeline stops at the window of its sender', async () => {
    host.write(
      'DOWNLOAD.cjs',
      `${COMMON}
       require('node:net').createServer(async (socket) => {
         const [answer] = await once(http.get('http://10.0.0.1:8080/'), 'response');
         await pipeline(answer, sink());
         socket.destroy();
       }).listen(9, () => console.log('listening'));`,
    );
    const program = host.register('DOWNLOAD.cjs', options);
    await program.said('listening');
    await startServer();
    // Begins when it is told to, and says so when it is done.
    const trigger = host.start('bash', ['-c', `cat < /dev/tcp/10.0.0.2/9; echo got ${BYTES}`]);
    const [first, second] = await peaks(program, trigger);
    expect(second - first).toBeLessThan(GROWTH_MIB);
    expect(Math.max(first, second)).toBeLessThan(MOST_MIB);
    expect(program.stdout).toContain(`got ${BYTES}\n`);
    expect(await closedWindows(program)).toBeGreaterThan(0);
  });
});

function rssMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}
