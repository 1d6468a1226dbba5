import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DirectStack } from '../../../src/direct/index.ts';
import { type Direction, runClient } from '../../../src/iperf3/index.ts';
import { CryptoRandom, RealClock } from '../../../src/time/index.ts';
import { canTap, KernelHost } from '../support/kernel-host.ts';

const skip = canTap();
const clock = new RealClock();
/** Of a test in which we send. */
const BYTES = 15_000_000;
const FAR = '10.88.0.2';
/** A frame that is several datagrams of iperf3's. */
const SEVERAL = 'udp and greater 2800';

function ip(...words: string[]): void {
  execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/**
 * Our iperf3, on a TAP with UDP segmentation offload, and the original in a namespace behind it. The kernel
 * between them cuts apart what we send as one, and puts together for us what is forwarded, so that what is
 * captured on the far link is what a network sees.
 */
describe.skipIf(skip !== null)('several datagrams as one frame, with iperf3 and tshark', () => {
  const far = `mnd-${process.pid}-far`;
  const veths = [`mndu${process.pid}a`, `mndu${process.pid}b`] as const;
  let folder: string;
  let host: KernelHost;
  let stack: DirectStack;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mirage-net-uso-'));
    host = new KernelHost();
    stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24', gateway: '10.77.0.1' });
    ip('netns', 'add', far);
    const [near, other] = veths;
    ip('link', 'add', near, 'netns', host.namespace, 'type', 'veth', 'peer', 'name', other, 'netns', far);
    for (const [namespace, device, address] of [
      [host.namespace, near, '10.88.0.1/24'],
      [far, other, `${FAR}/24`],
    ] as const) {
      ip('-n', namespace, 'address', 'add', address, 'dev', device);
      ip('-n', namespace, 'link', 'set', device, 'up');
      // Whole datagrams with whole checksums on this link.
      const off = ['tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off'];
      ip('netns', 'exec', namespace, 'ethtool', '-K', device, ...off);
    }
    ip('netns', 'exec', host.namespace, 'ethtool', '-K', near, 'gro', 'on', 'rx-udp-gro-forwarding', 'on');
    // What comes one by one is put together too.
    const wait = `echo 1 > /sys/class/net/${near}/napi_defer_hard_irqs; echo 2000000 > /sys/class/net/${near}/gro_flush_timeout`;
    ip('netns', 'exec', host.namespace, 'sh', '-c', wait);
    ip('-n', far, 'link', 'set', 'lo', 'up');
    ip('-n', far, 'route', 'add', 'default', 'via', '10.88.0.1');
    ip('netns', 'exec', host.namespace, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    await stack.ready();
  });

  afterAll(async () => {
    await stack?.close();
    await host?.close();
    execFileSync('ip', ['netns', 'del', far]);
    rmSync(folder, { recursive: true });
  });

  it.each<[Direction, string]>([
    ['forward', 'src host 10.77.0.2'],
    ['reverse', 'dst host 10.77.0.2'],
  ])('are right on the wire and all there: %s', async (direction, whose) => {
    const pcap = join(folder, `${direction}.pcap`);
    const inFar = (...words: string[]) => host.spawn('ip', ['netns', 'exec', far, ...words]);
    const server = inFar('iperf3', '-s', '-1', '--forceflush');
    const recorder = inFar('tcpdump', '-i', veths[1], '-w', pcap, '-B', '65536', 'udp');
    const large = host.exec('tcpdump', ['-i', host.device, '-c', '1', `${whose} and ${SEVERAL}`], {
      timeout: 15_000,
    });
    await Promise.all([
      new Promise((resolve) => server.stdout!.once('data', resolve)),
      new Promise((resolve) => recorder.stderr!.once('data', resolve)),
    ]);
    const { own, peer } = await runClient({
      stack,
      clock,
      random: new CryptoRandom(),
      cpu: () => ({ userMs: 0, systemMs: 0 }),
      host: FAR,
      port: 5201,
      test: {
        protocol: 'udp',
        direction,
        parallel: 1,
        seconds: direction === 'forward' ? 0 : 1,
        omitSeconds: 0,
        bytes: direction === 'forward' ? BYTES : 0,
        blocks: 0,
        blockBytes: 1448,
        rateBps: direction === 'forward' ? 0 : 200e6,
        noDelay: false,
        wideCounters: true,
        serverOutput: false,
      },
      intervalSeconds: 1,
      version: 'test',
      listener: { started() {}, interval() {}, finished() {} },
    });
    const stopped = new Promise((resolve) => recorder.once('close', resolve));
    recorder.kill('SIGINT');
    await stopped;
    // The kernel, or we, did put several into one frame.
    expect((await large).stdout).toMatch(/UDP, length \d{4}/);
    const sent = (direction === 'forward' ? own : peer).streams[0]!.counts;
    expect(sent.bytes).toBeGreaterThan(10_000_000);
    const checks = ['ip.check_checksum:TRUE', 'udp.check_checksum:TRUE'].flatMap((each) => ['-o', each]);
    const fields = ['udp.length', 'udp.checksum.status', 'ip.checksum.status', '_ws.malformed'];
    const { stdout } = await promisify(execFile)(
      'tshark',
      ['-r', pcap, ...checks, '-T', 'fields', ...fields.flatMap((each) => ['-e', each])],
      { maxBuffer: 2 ** 26 },
    );
    const lines = stdout.trimEnd().split('\n');
    const kinds = new Map<string, number>();
    for (const line of lines) kinds.set(line, (kinds.get(line) ?? 0) + 1);
    // 1 is "good", 0 "bad"; one more kind is iperf3's greeting of four bytes.
    expect([...kinds.keys()].filter((line) => !/^(1456|12)\t1\t1\t?$/.test(line))).toEqual([]);
    expect(kinds.get([...kinds.keys()].find((line) => line.startsWith('1456'))!)).toBeGreaterThan(
      (0.9 * sent.bytes) / 1448,
    );
  });
});
