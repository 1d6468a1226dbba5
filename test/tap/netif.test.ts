import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { CHECKSUM_PARTIAL, type Frame } from '../../src/netif/netif.ts';
import { attach } from '../../src/netif/tap/device.ts';
import { openTap } from '../../src/netif/tap/index.ts';
import {
  ICMP,
  ipv4Frame,
  plainSum,
  pseudoSum,
  Station,
  TCP,
  UDP,
  udpDatagram,
  until,
} from './support/frames.ts';
import { canTap, KernelHost, type KernelHostOptions } from './support/kernel-host.ts';

const OURS = '10.77.0.2';
const THEIRS = '10.77.0.1';
const skip = canTap();

const hosts: KernelHost[] = [];

function kernel(options: KernelHostOptions = {}): KernelHost {
  const host = new KernelHost(options);
  hosts.push(host);
  return host;
}

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

/** Sends a datagram of the kernel's to us. */
function kernelSends(host: KernelHost, text: string): Promise<unknown> {
  return host.exec('bash', ['-c', `printf %s '${text}' > /dev/udp/${OURS}/7`]);
}

function toKernel(station: Station, protocol: number, payload: Uint8Array): Buffer {
  return ipv4Frame({
    from: station.netif.mac,
    to: station.peer,
    source: OURS,
    destination: THEIRS,
    protocol,
    payload,
  });
}

/** A host, and a station that the kernel has resolved already. */
async function neighbours(options: KernelHostOptions = {}): Promise<{ host: KernelHost; station: Station }> {
  const host = kernel(options);
  const station = new Station(host.tap, OURS);
  await kernelSends(host, 'first');
  await until('the first datagram', () => station.of(UDP).length === 1);
  return { host, station };
}

describe.skipIf(skip !== null)(`TAP, with the kernel at the other end${skip ? `: ${skip}` : ''}`, () => {
  it('receives what the kernel sends, after it answered ARP', async () => {
    const { host, station } = await neighbours({ tap: { offloads: false } });
    const [frame] = station.of(UDP);
    expect(frame!.bytes.subarray(42).toString()).toBe('first');
    expect(frame!.segmentSize).toBe(0);
    expect(station.peer.equals(host.tap.mac)).toBe(false);
    expect(host.tap.transmit).toEqual({ checksum: 'none', segmentation: 0 });
    expect(host.tap.counters).toMatchObject({ rxDropped: 0, rxErrors: 0, txErrors: 0, txDropped: 0 });
  });

  it.each([false, true])('sends frames that the kernel answers (offloads: %s)', async (offloads) => {
    const { station } = await neighbours({ tap: { offloads } });
    const echo = Buffer.from('0800000012340001abcdefgh', 'latin1');
    const request = Buffer.concat([Buffer.from('0800000012340001', 'hex'), echo]);
    request.writeUInt16BE(~plainSum(request) & 0xffff, 2);
    station.send(toKernel(station, ICMP, request));
    await until('an echo reply', () => station.of(ICMP).length === 1);
    const reply = station.of(ICMP)[0]!.bytes.subarray(34);
    expect(reply[0]).toBe(0);
    expect(reply.subarray(4)).toEqual(request.subarray(4));
  });

  it('hands over batches, and flushes after each', async () => {
    const { host, station } = await neighbours({ tap: { batchFrames: 4 } });
    const before = station.batches.length;
    const burst = `for i in $(seq 40); do printf x > /dev/udp/${OURS}/7; done`;
    const held = new SharedArrayBuffer(4);
    station.onFrame = () => {
      // Holds the event loop once, so that the rest queues up in the kernel.
      station.onFrame = () => {};
      Atomics.wait(new Int32Array(held), 0, 0, 300);
    };
    await host.exec('bash', ['-c', burst]);
    await until('40 datagrams', () => station.of(UDP).length === 41);
    const batches = station.batches.slice(before);
    expect(Math.max(...batches)).toBe(4);
    expect(batches.reduce((sum, size) => sum + size, 0)).toBeGreaterThanOrEqual(40);
  });

  it('never writes again to bytes that were retained', async () => {
    const { host, station } = await neighbours();
    const kept: Uint8Array[] = [];
    station.onFrame = (frame) => {
      frame.retain();
      kept.push(frame.bytes.subarray(frame.start + 42, frame.end));
    };
    for (let i = 0; i < 5; i++) await kernelSends(host, `datagram ${i}`);
    await until('5 datagrams', () => kept.length === 5);
    expect(kept.map((bytes) => Buffer.from(bytes).toString())).toEqual(
      [0, 1, 2, 3, 4].map((i) => `datagram ${i}`),
    );
  });

  it('opens several queues of one device, over which the kernel spreads flows', async () => {
    const mac = '02:00:00:00:00:77';
    const host = kernel({ tap: { multiQueue: true, mac }, queues: 2 });
    const stations = host.queues.map((queue) => new Station(queue, OURS));
    expect(stations).toHaveLength(2);
    await kernelSends(host, 'first');
    const received = (): number[] => stations.map((station) => station.of(UDP).length);
    await until('the first datagram', () => received().some((count) => count > 0));
    // A socket of its own each: what spreads flows is a hash of their ports.
    await host.exec('bash', ['-c', `for i in $(seq 40); do printf x > /dev/udp/${OURS}/7; done`]);
    await until('41 datagrams', () => received()[0]! + received()[1]! === 41);
    expect(Math.min(...received())).toBeGreaterThan(0);
  });

  it('refuses to open a device of one queue as one of several', () => {
    const name = `mndq${process.pid % 1_000_000}`;
    const one = openTap({ name });
    try {
      expect(() => openTap({ name, multiQueue: true })).toThrow(/not a TAP device with several queues/);
    } finally {
      void one.close();
    }
  });

  describe('offloads', () => {
    it('receives UDP with a partial checksum, and completes it', async () => {
      const { station } = await neighbours();
      const { bytes, checksum, checksumStart, checksumOffset } = station.of(UDP)[0]!;
      expect({ checksum, checksumStart, checksumOffset }).toEqual({
        checksum: CHECKSUM_PARTIAL,
        checksumStart: 34,
        checksumOffset: 6,
      });
      expect(bytes.readUInt16BE(40)).toBe(pseudoSum(THEIRS, OURS, UDP, bytes.length - 34));
    });

    it('sends UDP with a partial checksum, which the kernel accepts', async () => {
      const { host, station } = await neighbours();
      const received = host.exec('timeout', ['5', 'socat', '-u', 'UDP4-RECVFROM:9', 'STDOUT']);
      await until('the receiver', () =>
        execFileSync('ip', ['netns', 'exec', host.namespace, 'ss', '-uln']).includes(':9 '),
      );
      const datagram = udpDatagram(7, 9, Buffer.from('partial'));
      datagram.writeUInt16BE(pseudoSum(OURS, THEIRS, UDP, datagram.length), 6);
      station.send(toKernel(station, UDP, datagram), (frame) => partial(frame, 6));
      expect((await received).stdout).toBe('partial');
    });

    it('receives segments of the kernel as one frame with a segment size', async () => {
      const { host, station } = await neighbours();
      const synAck = new SynAck(station);
      void host.exec('bash', ['-c', `head -c 14000 /dev/zero > /dev/tcp/${OURS}/9`], { allowFailure: true });
      await until('a SYN', () => station.of(TCP).length > 0);
      synAck.answer(station.of(TCP)[0]!.bytes);
      const segmented = () => station.of(TCP).find((frame) => frame.segmentSize > 0);
      await until('a frame of many segments', () => segmented() !== undefined);
      expect(segmented()!.segmentSize).toBe(1460);
      expect(segmented()!.bytes.length).toBeGreaterThan(2 * 1460);
      expect(segmented()!.checksum).toBe(CHECKSUM_PARTIAL);
    });

    it.each([4000, 65549])('sends a frame of %i bytes that holds many segments', async (size) => {
      const { host, station } = await neighbours();
      const segment = Buffer.alloc(size - 34);
      segment.writeUInt16BE(1000, 0);
      segment.writeUInt16BE(9, 2);
      segment.writeUInt16BE(0x5010, 12);
      segment.writeUInt16BE(pseudoSum(OURS, THEIRS, TCP, segment.length), 16);
      const before = received(host);
      station.send(toKernel(station, TCP, segment), (frame) => {
        partial(frame, 16);
        frame.segmentSize = 1460;
      });
      await until('the answer, a reset', () => station.of(TCP).length === 1);
      expect(station.of(TCP)[0]!.bytes[47]! & 0x04).toBe(0x04);
      expect(received(host) - before).toBeGreaterThanOrEqual(size - 14);
      expect(host.tap.counters.txErrors).toBe(0);
    });

    it('switches them off on a descriptor that had them on', async () => {
      const host = kernel();
      const device = attach('mndoff%d', {});
      const plain = openTap({ fd: device.descriptor.fd, offloads: false });
      hosts.push(host);
      expect(plain.transmit).toEqual({ checksum: 'none', segmentation: 0 });
      execFileSync('ip', ['link', 'set', plain.name, 'netns', host.namespace]);
      host.ip('address', 'add', '10.78.0.1/24', 'dev', plain.name);
      host.ip('link', 'set', plain.name, 'up');
      const station = new Station(plain, '10.78.0.2');
      await host.exec('bash', ['-c', 'printf hello > /dev/udp/10.78.0.2/7']);
      await until('a datagram', () => station.of(UDP).length === 1);
      const { bytes, checksum } = station.of(UDP)[0]!;
      expect(checksum).not.toBe(CHECKSUM_PARTIAL);
      expect(plainSum(bytes.subarray(34), pseudoSum('10.78.0.1', '10.78.0.2', UDP, bytes.length - 34))).toBe(
        0xffff,
      );
      await plain.close();
    });
  });

  it('waits where the kernel is full, loses nothing, and says when there is room', async ({ skip }) => {
    const host = kernel({ tap: { sendBuffer: 30_000 } });
    // What comes from the TAP goes straight to a link of 16 Mbit/s. (A bridge would do, but it
    // takes frames off the sender's account as soon as it has them.)
    host.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    for (const link of ['v0', 'v1']) host.ip('link', 'set', link, 'up');
    const tc = (line: string) => host.exec('tc', line.split(' '), { allowFailure: true });
    const results = [
      await tc('qdisc add dev v0 root tbf rate 16mbit burst 4000 latency 10s'),
      await tc(`qdisc add dev ${host.device} clsact`),
      await tc(
        `filter add dev ${host.device} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev v0`,
      ),
    ];
    const failure = results.find(({ code }) => code !== 0);
    if (failure !== undefined) skip(`this kernel has no tbf, u32 or mirred: ${failure.stderr}`);
    const station = new Station(host.tap, OURS);
    const frame = ipv4Frame({
      from: host.tap.mac,
      to: MacAddress.parse('02:00:00:00:00:99'),
      source: OURS,
      destination: '10.77.0.9',
      protocol: UDP,
      payload: Buffer.alloc(1480),
    });
    let sent = 0;
    const pump = (): void => {
      while (sent < 100 && station.send(frame)) sent++;
    };
    station.writable = pump;
    const before = counter(host, 'v1', 'rx', 'packets');
    pump();
    expect(sent).toBeLessThan(100);
    await until('all frames', () => counter(host, 'v1', 'rx', 'packets') - before >= 100);
    expect(host.tap.counters.txFrames).toBe(100);
    expect(host.tap.counters.txStalls).toBeGreaterThan(0);
    expect(host.tap.counters.txDropped).toBe(0);
  });

  it('counts frames while the interface is down, and goes on when it is up', async () => {
    const { host, station } = await neighbours();
    host.ip('link', 'set', host.device, 'down');
    station.send(toKernel(station, UDP, udpDatagram(7, 9, Buffer.from('lost'))));
    expect(host.tap.counters.txDropped).toBe(1);
    host.ip('link', 'set', host.device, 'up');
    await kernelSends(host, 'again');
    await until('a datagram after up', () => station.of(UDP).length === 2);
    expect(station.closings).toEqual([]);
  });

  it('says so when the device is deleted', async () => {
    const { host, station } = await neighbours();
    host.ip('link', 'del', host.device);
    await until('closed', () => station.closings.length > 0);
    expect(station.closings[0]).toMatchObject({ code: 'ENODEV' });
    expect(station.closings[0]!.message).toContain(host.device);
    expect(station.send(Buffer.alloc(60))).toBe(false);
    await host.tap.close();
    expect(station.closings).toHaveLength(1);
  });

  it('closes once, without an error, and the device goes away', async () => {
    const { host, station } = await neighbours();
    await host.tap.close();
    await host.tap.close();
    expect(station.closings).toEqual([undefined]);
    expect(() => host.ip('link', 'show', host.device)).toThrow(/does not exist/);
  });

  it('drops what is longer than the MTU it was opened with', async () => {
    const { host, station } = await neighbours({ tap: { offloads: false } });
    host.ip('link', 'set', host.device, 'mtu', '4000');
    await host.exec('bash', ['-c', `dd if=/dev/zero bs=3000 count=1 status=none > /dev/udp/${OURS}/7`]);
    await kernelSends(host, 'short');
    await until('the short one', () => station.of(UDP).length === 2);
    expect(host.tap.counters.rxDropped).toBe(1);
  });

  it('takes an MTU of 9000', async () => {
    const { host, station } = await neighbours({ mtu: 9000, tap: { offloads: false } });
    await host.exec('bash', ['-c', `dd if=/dev/zero bs=8000 count=1 status=none > /dev/udp/${OURS}/7`]);
    await until('a jumbo frame', () => station.of(UDP).length === 2);
    expect(station.of(UDP)[1]!.bytes.length).toBe(8042);
    expect(host.tap.mtu).toBe(9000);
  });
});

describe.skipIf(skip !== null)('openTap', () => {
  it('gives the kernel’s end its addresses, MTU and queue, and brings it up', async () => {
    const tap = openTap({ hostAddress: '10.79.213.1/28', mtu: 1400, queueFrames: 4000 });
    try {
      execFileSync('ip', ['link', 'show', tap.name]);
      const text = execFileSync('ip', ['address', 'show', 'dev', tap.name]).toString();
      expect(text).toContain('inet 10.79.213.1/28');
      expect(text).toContain('mtu 1400');
      expect(text).toContain('qlen 4000');
      expect(text).toContain('UP');
      expect(tap.mtu).toBe(1400);
      expect(tap.mac.isGroup).toBe(false);
    } finally {
      await tap.close();
    }
  });

  it('adds an IPv6 address', async () => {
    const tap = openTap({ hostAddress: 'fd00:77:1::1/64' });
    try {
      expect(execFileSync('ip', ['address', 'show', 'dev', tap.name]).toString()).toContain(
        'inet6 fd00:77:1::1/64',
      );
    } finally {
      await tap.close();
    }
  });

  it('keeps a persistent device, attaches to it again, and lets it go', async () => {
    const first = openTap({ persist: true });
    await first.close();
    const second = openTap({ name: first.name, persist: false, offloads: false });
    expect(second.name).toBe(first.name);
    await second.close();
    expect(() => execFileSync('ip', ['link', 'show', first.name], { stdio: 'pipe' })).toThrow();
  });

  it('refuses a device that is open elsewhere', async () => {
    const tap = openTap();
    expect(() => openTap({ name: tap.name })).toThrow(
      expect.objectContaining({ code: 'EBUSY', message: expect.stringContaining('in use') }),
    );
    await tap.close();
  });

  it('refuses an interface that is not a TAP', () => {
    expect(() => openTap({ name: 'lo' })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('refuses the address of the kernel’s end', () => {
    const device = attach('mndmac%d', {});
    const wrong = { fd: device.descriptor.fd, mac: device.hostMac };
    expect(() => openTap(wrong)).toThrow(/needs its own/);
    device.descriptor.close();
  });

  it('refuses descriptors that are not an attached TAP', () => {
    expect(() => openTap({ fd: 12_345 })).toThrow(/fd 12345 is not open/);
    const file = openSync('/dev/null', 'r');
    expect(() => openTap({ fd: file })).toThrow(/is not a TAP/);
    closeSync(file);
    const clone = openSync('/dev/net/tun', 'r+');
    expect(() => openTap({ fd: clone })).toThrow(/no device is attached/);
    closeSync(clone);
  });

  it('says what an unprivileged user can do', async () => {
    const child = unprivileged(['{}'], []);
    const [answer] = await lines(child, 1);
    expect(answer).toMatchObject({ message: expect.stringContaining('fd:N') });
    expect(['EACCES', 'EPERM']).toContain(answer!.code);
  });

  it('takes over a descriptor from a parent, unprivileged, with its offloads', async () => {
    const host = kernel();
    const device = attach('mndfd%d', {});
    const child = unprivileged(['{"fd":3}', '10.78.0.2'], [device.descriptor.fd]);
    device.descriptor.close();
    execFileSync('ip', ['link', 'set', device.name, 'netns', host.namespace]);
    host.ip('address', 'add', '10.78.0.1/24', 'dev', device.name);
    host.ip('link', 'set', device.name, 'up');
    const answers = lines(child, 2);
    host.spawn('ping', ['10.78.0.2']);
    const [opened, received] = await answers;
    expect(opened).toEqual({
      name: device.name,
      mtu: 1500,
      transmit: { checksum: 'partial', segmentation: 65549 },
    });
    expect(received).toEqual({ received: 98 });
  });
});

function partial(frame: Frame, offset: number): void {
  frame.checksum = CHECKSUM_PARTIAL;
  frame.checksumStart = frame.start + 34;
  frame.checksumOffset = offset;
}

function counter(host: KernelHost, device: string, way: 'rx' | 'tx', what: 'bytes' | 'packets'): number {
  const [link] = JSON.parse(host.ip('-j', '-s', 'link', 'show', device));
  return link.stats64[way][what];
}

/** Bytes that the kernel's end has received from us. */
function received(host: KernelHost): number {
  return counter(host, host.device, 'rx', 'bytes');
}

/** As much TCP as it takes to make the kernel send data. */
class SynAck {
  readonly #station: Station;

  constructor(station: Station) {
    this.#station = station;
  }

  answer(syn: Buffer): void {
    const segment = Buffer.alloc(24);
    syn.copy(segment, 0, 36, 38);
    syn.copy(segment, 2, 34, 36);
    segment.writeUInt32BE(1, 4);
    segment.writeUInt32BE(syn.readUInt32BE(38) + 1, 8);
    segment.writeUInt16BE(0x6012, 12);
    segment.writeUInt16BE(0xffff, 14);
    segment.writeUInt32BE(0x020405b4, 20);
    const sum = plainSum(segment, pseudoSum(OURS, THEIRS, TCP, segment.length));
    segment.writeUInt16BE(~sum & 0xffff, 16);
    this.#station.send(toKernel(this.#station, TCP, segment));
  }
}

/** Runs `open-tap.ts` as nobody, without capabilities; `fds` become 3, 4, … */
function unprivileged(args: string[], fds: number[]): ChildProcess {
  const script = fileURLToPath(new URL('./support/open-tap.ts', import.meta.url));
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all'];
  return spawn('setpriv', [...user, process.execPath, '--import', 'tsx', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit', ...fds],
  });
}

/** The first `count` JSON lines that a child prints; rejects if it ends before. */
function lines(child: ChildProcess, count: number): Promise<Record<string, unknown>[]> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      text += chunk;
      const whole = text.split('\n').slice(0, -1);
      if (whole.length >= count) resolve(whole.slice(0, count).map((line) => JSON.parse(line)));
    });
    child.once('close', () => reject(new Error(`the child ended after printing: ${text}`)));
  });
}
