import { IpAddress } from '../address/index.ts';
import type { DirectStack } from '../direct/index.ts';
import { NetError } from '../errors.ts';
import type { RawPacket, RawSocket } from '../raw/index.ts';
import type { Stack } from '../stack.ts';
import { CommandError } from './errors.ts';
import type { CommandIo } from './io.ts';
import type { PingOptions } from './ping-arguments.ts';

const HEADER = 8;
/** Types of messages, and how to read them, in either family. */
interface Kind {
  readonly protocol: number;
  readonly request: number;
  readonly reply: number;
  /** Where the quoted packet's ICMP header is in an error; -1 for none. */
  quoted(message: Uint8Array): number;
  describe(message: Uint8Array): string | null;
}

const IPV4: Kind = {
  protocol: 1,
  request: 8,
  reply: 0,
  quoted: (message) => (message.length < HEADER + 20 ? -1 : HEADER + ((message[HEADER]! & 15) << 2)),
  describe: (message) => {
    const code = message[1]!;
    switch (message[0]) {
      case 3:
        if (code === 4) return `Frag needed and DF set (mtu = ${(message[6]! << 8) | message[7]!})`;
        return (
          ['Destination Net Unreachable', 'Destination Host Unreachable'][code] ??
          `Destination unreachable, code ${code}`
        );
      case 11:
        return code === 0 ? 'Time to live exceeded' : 'Frag reassembly time exceeded';
      case 12:
        return 'Parameter problem';
      default:
        return null;
    }
  },
};

const IPV6: Kind = {
  protocol: 58,
  request: 128,
  reply: 129,
  quoted: (message) =>
    message.length < HEADER + 40 ? -1 : HEADER + 40 + (message[HEADER + 6] === 44 ? 8 : 0),
  describe: (message) => {
    const code = message[1]!;
    switch (message[0]) {
      case 1:
        return { 0: 'No route', 3: 'Address unreachable' }[code] ?? `Destination unreachable, code ${code}`;
      case 2:
        return 'Packet too big';
      case 3:
        return code === 0 ? 'Time exceeded: Hop limit' : 'Time exceeded: Defragmentation';
      case 4:
        return 'Parameter problem';
      default:
        return null;
    }
  },
};

/** `ping` as an application; throws, so that the command fails, if nobody answered. */
export function ping(options: PingOptions, io: CommandIo): (stack: Stack) => Promise<void> {
  return async (stack) => {
    const direct = stack as DirectStack;
    const addresses = (await direct.resolve(options.host)).map((text) => IpAddress.parse(text));
    const target = addresses.find(({ family }) => options.family === undefined || family === options.family);
    if (target === undefined) {
      throw new NetError('ENOTFOUND', {
        address: options.host,
        reason: `it has no ${options.family} address`,
      });
    }
    const kind = target.isIpv4 ? IPV4 : IPV6;
    const socket = direct.ip.open(kind.protocol);
    try {
      await new Pinger(options, `${target}`, kind, socket, io).run();
    } finally {
      await socket.close();
    }
  };
}

class Pinger {
  readonly #options: PingOptions;
  readonly #target: string;
  readonly #kind: Kind;
  readonly #socket: RawSocket;
  readonly #io: CommandIo;
  readonly #identifier = (Math.random() * 0x1_0000) | 0;
  /** By sequence number, of those that are not answered. */
  readonly #sentAt = new Map<number, number>();
  #sent = 0;
  #received = 0;
  #duplicates = 0;
  #errors = 0;
  readonly #times: number[] = [];
  #done: () => void = () => {};
  #stopping = false;

  constructor(options: PingOptions, target: string, kind: Kind, socket: RawSocket, io: CommandIo) {
    this.#options = options;
    this.#target = target;
    this.#kind = kind;
    this.#socket = socket;
    this.#io = io;
  }

  async run(): Promise<void> {
    const { host, size, count, intervalMs, waitMs, quiet } = this.#options;
    this.#say(`PING ${host} (${this.#target}) ${size} bytes of data.`);
    const began = performance.now();
    const finished = new Promise<void>((resolve) => {
      this.#done = resolve;
    });
    void this.#listen();
    const stop = (): void => this.#done();
    this.#io.process.on('SIGINT', stop);
    this.#io.process.on('SIGTERM', stop);
    let timer: NodeJS.Timeout | undefined;
    const send = (): void => {
      if (this.#stopping) return;
      void this.#send(quiet);
      const isLast = count !== null && this.#sent >= count;
      timer = setTimeout(isLast ? this.#done : send, isLast ? waitMs : intervalMs);
    };
    send();
    await finished;
    this.#stopping = true;
    clearTimeout(timer);
    this.#io.process.off('SIGINT', stop);
    this.#io.process.off('SIGTERM', stop);
    this.#summarize(performance.now() - began);
    if (this.#received === 0) throw new CommandError(`${host} did not answer.`);
  }

  async #send(quiet: boolean): Promise<void> {
    const sequence = ++this.#sent & 0xffff;
    const { size, hopLimit, dontFragment } = this.#options;
    const message = new Uint8Array(HEADER + size);
    const view = new DataView(message.buffer);
    message[0] = this.#kind.request;
    view.setUint16(4, this.#identifier);
    view.setUint16(6, sequence);
    for (let i = 0; i < size; i++) message[HEADER + i] = i;
    if (this.#kind === IPV4) view.setUint16(2, checksum(view));
    this.#sentAt.set(sequence, performance.now());
    try {
      await this.#socket.send(message, this.#target, {
        dontFragment,
        ...(hopLimit !== undefined && { hopLimit }),
      });
    } catch (error) {
      this.#errors++;
      if (!quiet) this.#say(`ping: ${(error as Error).message}`);
    }
  }

  async #listen(): Promise<void> {
    for await (const packet of this.#socket) {
      const view = new DataView(packet.data.buffer, packet.data.byteOffset, packet.data.byteLength);
      if (packet.data.length < HEADER) continue;
      if (packet.data[0] === this.#kind.reply) this.#reply(packet, view);
      else this.#error(packet, view);
    }
  }

  #reply({ data, source, hopLimit }: RawPacket, view: DataView): void {
    if (view.getUint16(4) !== this.#identifier) return;
    const sequence = view.getUint16(6);
    const at = this.#sentAt.get(sequence);
    const isDuplicate = at === undefined;
    if (isDuplicate) this.#duplicates++;
    else {
      this.#sentAt.delete(sequence);
      this.#received++;
      this.#times.push(performance.now() - at);
    }
    if (!this.#options.quiet) {
      const time = isDuplicate ? '(DUP!)' : `time=${(performance.now() - at).toFixed(3)} ms`;
      this.#say(`${data.length} bytes from ${source}: icmp_seq=${sequence} ttl=${hopLimit} ${time}`);
    }
    const { count } = this.#options;
    if (count !== null && this.#sent >= count && this.#sentAt.size === 0) this.#done();
  }

  /** What a router or the host says of one of our requests. */
  #error({ data, source }: RawPacket, view: DataView): void {
    const text = this.#kind.describe(data);
    const at = text === null ? -1 : this.#kind.quoted(data);
    if (at < 0 || data.length < at + HEADER || data[at] !== this.#kind.request) return;
    if (view.getUint16(at + 4) !== this.#identifier) return;
    this.#errors++;
    if (!this.#options.quiet) this.#say(`From ${source} icmp_seq=${view.getUint16(at + 6)} ${text}`);
  }

  #summarize(elapsedMs: number): void {
    const { host } = this.#options;
    const loss = this.#sent === 0 ? 0 : Math.round(((this.#sent - this.#received) / this.#sent) * 1e4) / 100;
    this.#say(`\n--- ${host} ping statistics ---`);
    this.#say(
      [
        `${this.#sent} packets transmitted`,
        `${this.#received} received`,
        ...(this.#duplicates === 0 ? [] : [`+${this.#duplicates} duplicates`]),
        ...(this.#errors === 0 ? [] : [`+${this.#errors} errors`]),
        `${loss}% packet loss`,
        `time ${Math.round(elapsedMs)}ms`,
      ].join(', '),
    );
    if (this.#times.length === 0) return;
    const mean = this.#times.reduce((sum, time) => sum + time, 0) / this.#times.length;
    const square = this.#times.reduce((sum, time) => sum + time * time, 0) / this.#times.length;
    const numbers = [
      Math.min(...this.#times),
      mean,
      Math.max(...this.#times),
      Math.sqrt(Math.max(0, square - mean * mean)),
    ];
    this.#say(`rtt min/avg/max/mdev = ${numbers.map((ms) => ms.toFixed(3)).join('/')} ms`);
  }

  #say(line: string): void {
    this.#io.stdout.write(`${line}\n`);
  }
}

function checksum(view: DataView): number {
  let sum = 0;
  for (let at = 0; at < view.byteLength; at += 2) {
    sum += at + 1 < view.byteLength ? view.getUint16(at) : view.getUint8(at) << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
