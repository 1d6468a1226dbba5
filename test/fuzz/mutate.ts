import { type Random, randomBelow, randomFraction } from '../../src/time/index.ts';
import { LIVE_PORT, PEER_IP, SACRIFICE_PORT, UDP_PORT, VICTIM_IP, VICTIM_MAC } from './corpus.ts';
import { ETHERNET, get16, get32, ICMP, repair, set16, set32, TCP, UDP } from './packets.ts';

/** Room for a frame that grew. */
export const MOST_FRAME = 2048;

/** What is known of a connection of the victim, from what it sends. */
export interface Target {
  /** The peer's port, and the victim's. */
  readonly peerPort: number;
  readonly port: number;
  /** SND.NXT and RCV.NXT of the victim. */
  next: number;
  expected: number;
}

const ADDRESSES = [
  PEER_IP,
  VICTIM_IP,
  0,
  -1,
  0x0a0000ff,
  0x7f000001,
  0xe0000001 | 0,
  0xf0000001 | 0,
  0x0a000003,
  0x08080808,
  0xa9fe0001 | 0,
];
const PORTS = [LIVE_PORT, SACRIFICE_PORT, UDP_PORT, 0, 4, 80, 65_535];
const LENGTHS = [0, 1, 7, 8, 19, 20, 21, 28, 40, 41, 60, 576, 1500, 65_535];

/**
 * Makes frames that are nearly right: takes one of the corpus, changes what its
 * structure says is worth changing, and mostly makes the checksums right again
 * so that the change gets past them.
 */
export class Mutator {
  readonly #random: Random;
  readonly #corpus: readonly Uint8Array[];
  /** The frame made last is `bytes[0..length)`. */
  readonly bytes = new Uint8Array(MOST_FRAME);
  length = 0;

  constructor(random: Random, corpus: readonly Uint8Array[]) {
    this.#random = random;
    this.#corpus = corpus;
  }

  #below(bound: number): number {
    return randomBelow(this.#random, bound);
  }

  #chance(probability: number): boolean {
    return randomFraction(this.#random) < probability;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!;
  }

  #byte(): number {
    return this.#random.next32() & 255;
  }

  /** A mutated frame of the corpus. */
  mutant(): void {
    // The frame before it once more, changed further: repetition is a mutation as well.
    if (this.length === 0 || !this.#chance(0.05)) this.#load(this.#pick(this.#corpus));
    const changes = 1 + this.#below(3);
    for (let i = 0; i < changes; i++) this.#change();
    if (this.#chance(0.75)) repair(this.bytes, this.length);
  }

  #load(frame: Uint8Array): void {
    this.bytes.set(frame);
    this.length = frame.length;
  }

  #change(): void {
    const { bytes } = this;
    switch (this.#below(8)) {
      case 0:
        this.#anywhere();
        return;
      case 1:
        this.#ethernet();
        return;
      default:
    }
    const type = this.length >= ETHERNET ? get16(bytes, 12) : 0;
    if (type === 0x0806) this.#arp();
    else if (type === 0x0800 && this.length >= ETHERNET + 20) this.#ip();
    else this.#anywhere();
  }

  /** Changes that need no structure. */
  #anywhere(): void {
    const { bytes } = this;
    if (this.length === 0) return;
    switch (this.#below(6)) {
      case 0:
        for (let n = 1 + this.#below(8); n > 0; n--) bytes[this.#below(this.length)]! ^= 1 << this.#below(8);
        return;
      case 1:
        bytes[this.#below(this.length)] = this.#byte();
        return;
      case 2:
        this.length = this.#below(this.length + 1);
        return;
      case 3: {
        const longer = Math.min(MOST_FRAME, this.length + this.#below(64));
        for (let i = this.length; i < longer; i++) bytes[i] = this.#byte();
        this.length = longer;
        return;
      }
      case 4: {
        // The front of one and the back of another.
        const other = this.#pick(this.#corpus);
        const at = this.#below(Math.min(this.length, other.length));
        bytes.set(other.subarray(at), at);
        this.length = other.length;
        return;
      }
      default: {
        const from = this.#below(this.length);
        const size = Math.min(this.length - from, 1 + this.#below(16));
        bytes.copyWithin(this.#below(this.length - size + 1), from, from + size);
      }
    }
  }

  #ethernet(): void {
    const { bytes } = this;
    switch (this.#below(4)) {
      case 0:
        bytes.fill(0xff, 0, 6);
        return;
      case 1:
        bytes.set([1, 0, 0x5e, 0, 0, 1]);
        return;
      case 2:
        bytes[6 + this.#below(6)] = this.#byte();
        return;
      default:
        set16(bytes, 12, this.#pick([0x0800, 0x0806, 0x86dd, 0x8100, 0, 46, this.#below(65_536)]));
    }
  }

  #arp(): void {
    const { bytes } = this;
    const at = ETHERNET;
    switch (this.#below(6)) {
      case 0:
        set16(bytes, at + 6, this.#pick([1, 2, 3, this.#below(65_536)]));
        return;
      case 1:
        set32(bytes, at + 14, this.#address());
        return;
      case 2:
        set32(bytes, at + 24, this.#address());
        return;
      case 3:
        bytes[at + 8 + this.#below(6)] = this.#byte();
        return;
      case 4:
        bytes[at + this.#below(6)] = this.#byte();
        return;
      default:
        // From a stranger, consistently.
        set32(bytes, 8, this.#random.next32());
        bytes.copyWithin(at + 8, 6, 12);
        set32(bytes, at + 14, 0x0a000000 | this.#below(256));
    }
  }

  #address(): number {
    return this.#chance(0.7)
      ? this.#pick(ADDRESSES)
      : this.#chance(0.5)
        ? 0x0a000000 | this.#below(256)
        : this.#random.next32();
  }

  #ip(): void {
    const { bytes } = this;
    const ip = ETHERNET;
    switch (this.#below(12)) {
      case 0:
        bytes[ip] = this.#chance(0.5) ? 0x40 | this.#below(16) : this.#byte();
        return;
      case 1:
        set16(bytes, ip + 2, this.#length());
        return;
      case 2:
        this.#fragment();
        return;
      case 3:
        bytes[ip + 8] = this.#pick([0, 1, 64, 255]);
        return;
      case 4:
        bytes[ip + 9] = this.#pick([TCP, UDP, ICMP, 2, 4, 41, 50, 132, this.#byte()]);
        return;
      case 5:
        set32(bytes, ip + 12, this.#address());
        return;
      case 6:
        set32(bytes, ip + 16, this.#address());
        return;
      case 7:
        this.#ipOptions();
        return;
      default:
        this.#transport();
    }
  }

  #length(): number {
    return this.#chance(0.5)
      ? this.#pick(LENGTHS)
      : Math.max(0, this.length - ETHERNET + this.#below(40) - 20);
  }

  #fragment(): void {
    const { bytes } = this;
    const ip = ETHERNET;
    set16(bytes, ip + 4, this.#chance(0.8) ? this.#below(16) : this.#below(65_536));
    const offset = this.#chance(0.5) ? this.#below(20) : this.#below(8192);
    set16(bytes, ip + 6, (this.#chance(0.6) ? 0x2000 : 0) | offset | (this.#chance(0.05) ? 0xc000 : 0));
    if (this.#chance(0.6)) {
      // Fragments that are not the last come in multiples of eight.
      const length = 20 + 8 * this.#below(Math.max(1, (this.length - ETHERNET - 20) >> 3));
      set16(bytes, ip + 2, length);
      this.length = Math.max(ETHERNET + 20, Math.min(this.length, ETHERNET + length));
    }
  }

  #ipOptions(): void {
    const { bytes } = this;
    const words = 1 + this.#below(10);
    const at = ETHERNET + 20;
    if (this.length + 4 * words > MOST_FRAME) return;
    bytes.copyWithin(at + 4 * words, at, this.length);
    this.length += 4 * words;
    for (let i = 0; i < 4 * words; i++)
      bytes[at + i] = this.#chance(0.5) ? this.#pick([0, 1, 7, 68, 131, 137, 3, 4]) : this.#byte();
    bytes[ETHERNET] = 0x45 + words;
    set16(bytes, ETHERNET + 2, get16(bytes, ETHERNET + 2) + 4 * words);
  }

  #transport(): void {
    const { bytes } = this;
    const at = ETHERNET + (bytes[ETHERNET]! & 15) * 4;
    const protocol = bytes[ETHERNET + 9]!;
    if (at + 8 > this.length) this.#anywhere();
    else if (protocol === TCP && at + 20 <= this.length) this.#tcp(at);
    else if (protocol === UDP) this.#udp(at);
    else if (protocol === ICMP) this.#icmp(at);
    else bytes[at + this.#below(this.length - at)] = this.#byte();
  }

  #port(): number {
    return this.#chance(0.7) ? this.#pick(PORTS) : this.#below(65_536);
  }

  #tcp(at: number): void {
    const { bytes } = this;
    switch (this.#below(10)) {
      case 0:
        set16(bytes, at, this.#port());
        return;
      case 1:
        set16(bytes, at + 2, this.#port());
        return;
      case 2:
        set32(bytes, at + 4, this.#random.next32());
        return;
      case 3:
        set32(bytes, at + 8, this.#random.next32());
        return;
      case 4:
        bytes[at + 12] = this.#chance(0.5) ? this.#below(16) << 4 : this.#byte();
        return;
      case 5:
      case 6:
        bytes[at + 13] = this.#chance(0.7)
          ? this.#pick([0, 1, 2, 3, 4, 16, 17, 18, 20, 24, 25, 41, 63])
          : this.#byte();
        return;
      case 7:
        set16(bytes, at + 14, this.#below(65_536));
        return;
      default:
        this.#tcpOptions(at);
    }
  }

  /** Fills the option space with options, true to their lengths or not. */
  #tcpOptions(at: number): void {
    const { bytes } = this;
    const header = (bytes[at + 12]! >> 4) * 4;
    const end = Math.min(at + header, this.length);
    for (let to = at + 20; to < end; ) {
      const kind = this.#pick([0, 1, 2, 3, 4, 5, 8, 14, 19, 28, 29, 30, 34, 254, this.#byte()]);
      const true_ = { 2: 4, 3: 3, 4: 2, 5: 10, 8: 10, 28: 4, 34: 10 }[kind] ?? 2 + this.#below(8);
      bytes[to] = kind;
      if (kind < 2) {
        to++;
        continue;
      }
      if (to + 1 < end) bytes[to + 1] = this.#chance(0.8) ? true_ : this.#byte();
      for (let i = to + 2; i < Math.min(end, to + true_); i++) bytes[i] = this.#byte();
      to += true_;
    }
  }

  #udp(at: number): void {
    const { bytes } = this;
    switch (this.#below(4)) {
      case 0:
        set16(bytes, at, this.#port());
        return;
      case 1:
        set16(bytes, at + 2, this.#port());
        return;
      case 2:
        set16(bytes, at + 4, this.#length());
        return;
      default:
        set16(bytes, at + 6, 0);
    }
  }

  #icmp(at: number): void {
    const { bytes } = this;
    switch (this.#below(6)) {
      case 0:
        bytes[at] = this.#pick([0, 3, 4, 5, 8, 9, 10, 11, 12, 13, 17, this.#byte()]);
        return;
      case 1:
        bytes[at + 1] = this.#below(16);
        return;
      case 2:
        set32(bytes, at + 4, this.#pick([0, 1, 68, 576, 1280, 1499, 65_535, this.#random.next32()]));
        return;
      default:
        this.#quote(at);
    }
  }

  /** An ICMP error about a packet that the victim might have sent: its quotation is mutated. */
  #quote(at: number): void {
    const { bytes } = this;
    const inner = at + 8;
    bytes[at] = this.#pick([3, 3, 3, 4, 11, 12]);
    bytes[at + 1] = this.#below(8);
    const room = this.length - inner;
    if (room < 28) return;
    bytes[inner] = this.#chance(0.9) ? 0x45 : this.#byte();
    set16(bytes, inner + 2, this.#length());
    bytes[inner + 9] = this.#pick([TCP, UDP, ICMP, this.#byte()]);
    set32(bytes, inner + 12, this.#chance(0.8) ? VICTIM_IP : this.#address());
    set32(bytes, inner + 16, this.#chance(0.7) ? PEER_IP : this.#address());
    set16(bytes, inner + 20, this.#port());
    set16(bytes, inner + 22, this.#port());
    set32(bytes, inner + 24, this.#random.next32());
  }

  /** A sound segment with the connection's four-tuple and numbers that a blind attacker guesses: outside the window. */
  blind(target: Target): void {
    this.#segment(target, target.next, target.expected);
    const { bytes } = this;
    const at = ETHERNET + 20;
    // Never within a window's reach above, nor an old duplicate's below, of what is expected.
    const away = 0x01000000 + this.#below(0x7e000000);
    set32(bytes, at + 4, this.#chance(0.5) ? target.expected + away : target.expected - away);
    set32(bytes, at + 8, this.#chance(0.3) ? target.next : this.#random.next32());
    repair(bytes, this.length);
  }

  /** A segment that someone who sees the connection could forge: in the window, with all its options. */
  inWindow(target: Target): void {
    const sequence = target.expected + (this.#chance(0.6) ? 0 : this.#below(80_000) - 8000);
    const acknowledgment = target.next + (this.#chance(0.6) ? 0 : this.#below(80_000) - 60_000);
    this.#segment(target, acknowledgment, sequence);
    if (this.#chance(0.2)) this.#tcp(ETHERNET + 20);
    repair(this.bytes, this.length);
  }

  /** An ICMP error that quotes the connection; `exact` with a number that is in flight or next, else a guess far off. */
  error(target: Target, exact: boolean): void {
    const { bytes } = this;
    const ip = ETHERNET;
    const at = ip + 20;
    const inner = at + 8;
    this.#segment(target, target.expected, target.next);
    const quoted = this.#chance(0.5) ? 28 : 40;
    const total = 20 + 8 + quoted;
    bytes.copyWithin(inner, ip, ip + 40);
    set16(bytes, ip + 2, total);
    bytes[ip + 9] = ICMP;
    set32(bytes, ip + 12, this.#chance(0.7) ? PEER_IP : this.#address());
    bytes[at] = this.#pick([3, 3, 3, 3, 4, 11, 12]);
    bytes[at + 1] = this.#pick([0, 1, 2, 3, 4, 4, 4, 4, 5, 13]);
    set32(bytes, at + 4, this.#pick([0, 68, 300, 576, 1280, 1400, 1499, 65_535, this.#random.next32()]));
    set32(bytes, inner + 12, VICTIM_IP);
    set32(bytes, inner + 16, PEER_IP);
    set16(bytes, inner + 20, target.port);
    set16(bytes, inner + 22, target.peerPort);
    const off = exact ? -this.#below(3000) : 0x01000000 + this.#below(0x7e000000);
    set32(bytes, inner + 24, target.next + off);
    this.length = ip + total;
    repair(bytes, this.length);
  }

  #segment(target: Target, acknowledgment: number, sequence: number): void {
    const { bytes } = this;
    const ip = ETHERNET;
    const at = ip + 20;
    const options = 4 * (this.#chance(0.6) ? 3 : this.#below(11));
    const payload = this.#chance(0.5) ? 0 : 1 + this.#below(this.#chance(0.1) ? 1400 : 64);
    VICTIM_MAC.write(bytes, 0);
    set16(bytes, 6, 0x0242);
    set32(bytes, 8, 0x11111111);
    set16(bytes, 12, 0x0800);
    bytes[ip] = 0x45;
    bytes[ip + 1] = this.#below(4);
    set16(bytes, ip + 2, 40 + options + payload);
    set32(bytes, ip + 4, 0);
    bytes[ip + 8] = 64;
    bytes[ip + 9] = TCP;
    set32(bytes, ip + 12, PEER_IP);
    set32(bytes, ip + 16, VICTIM_IP);
    set16(bytes, at, target.peerPort);
    set16(bytes, at + 2, target.port);
    set32(bytes, at + 4, sequence);
    set32(bytes, at + 8, acknowledgment);
    bytes[at + 12] = (5 + options / 4) << 4;
    bytes[at + 13] = this.#chance(0.7) ? this.#pick([16, 24, 16, 24, 17, 4, 20, 2, 18]) : this.#byte();
    set16(bytes, at + 14, this.#chance(0.3) ? this.#below(3) : this.#below(65_536));
    set32(bytes, at + 16, this.#chance(0.95) ? 0 : this.#random.next32());
    this.#segmentOptions(at, options, target);
    for (let i = 0; i < payload; i++) bytes[at + 20 + options + i] = i;
    this.length = at + 20 + options + payload;
  }

  /** Timestamps and SACK blocks as a connection has them, or anything. */
  #segmentOptions(at: number, options: number, target: Target): void {
    const { bytes } = this;
    const end = at + 20 + options;
    let to = at + 20;
    if (options >= 12 && this.#chance(0.7)) {
      set32(bytes, to, 0x0101080a);
      set32(bytes, to + 4, this.#random.next32());
      set32(bytes, to + 8, this.#random.next32());
      to += 12;
    }
    const blocks = Math.floor((end - to - 4) / 8);
    if (blocks > 0 && this.#chance(0.7)) {
      set32(bytes, to, 0x01010500 | (2 + 8 * blocks));
      to += 4;
      for (let i = 0; i < blocks; i++) {
        const left = target.next - this.#below(70_000);
        set32(bytes, to, left);
        set32(bytes, to + 4, left + this.#below(3000) - (this.#chance(0.1) ? 2000 : 0));
        to += 8;
      }
    }
    if (to < end && this.#chance(0.5)) {
      bytes.fill(1, to, end);
      return;
    }
    for (; to < end; to++) bytes[to] = this.#byte();
  }
}

/** Whether the frame is a sound segment for this four-tuple, and where in the peer's numbers it stands. */
export function distanceTo(bytes: Uint8Array, length: number, target: Target): number | null {
  const ip = ETHERNET;
  if (length < ip + 40 || get16(bytes, 12) !== 0x0800 || bytes[ip + 9] !== TCP) return null;
  if (get32(bytes, ip + 12) !== PEER_IP || get32(bytes, ip + 16) !== VICTIM_IP) return null;
  const at = ip + (bytes[ip]! & 15) * 4;
  if (at + 8 > length || get16(bytes, at) !== target.peerPort || get16(bytes, at + 2) !== target.port)
    return null;
  return (get32(bytes, at + 4) - target.expected) | 0;
}
