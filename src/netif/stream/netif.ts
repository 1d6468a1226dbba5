import type { Socket } from 'node:net';
import type { MacAddress } from '../../address/index.ts';
import { EMPTY } from '../../bytes/index.ts';
import { NetError } from '../../errors.ts';
import type { Alarm, Clock } from '../../time/index.ts';
import {
  ETHERNET_HEADER,
  Frame,
  type Netif,
  type NetifHandler,
  NO_OFFLOADS,
  netifCounters,
} from '../netif.ts';
import { longestFrame } from '../sender.ts';
import { type Slab, SlabArena } from '../slab.ts';
import { FrameSplitter, LENGTH, setLength } from './framing.ts';

/** Bytes that wait in the socket before `reserve` answers null. */
const BACKLOG = 256 * 1024;
/** Frames of one turn are written together, up to this. */
const GATHER = 64 * 1024;
/** How long `close` waits for a peer to take what was sent. */
const CLOSE_MS = 1000;

/** How a netif comes by its peers, and goes on without one. */
export interface PeerSource {
  /** The TCP port that peers come to; null if there is none. */
  readonly port: number | null;
  /** Looks for a peer until it is stopped. */
  start(): void;
  /** The peer is gone: there may be another. */
  lost(error: Error | undefined): void;
  /** Looking for one keeps the process no more. */
  unref(): void;
  stop(): Promise<void>;
}

export interface StreamNetifOptions {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly clock: Clock;
  /** Told when there is a peer, and when there is none. */
  readonly onLink: (up: boolean) => void;
}

/**
 * A network interface over a socket: whole frames, each behind its length. One
 * peer at a time; without one the link is down, and what is sent is dropped and
 * counted, as on a cable that is not plugged in. No offloads: neither QEMU nor
 * passt negotiates them on such a stream.
 */
export class StreamNetif implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly transmit = NO_OFFLOADS;
  readonly receive = NO_OFFLOADS;
  readonly counters = netifCounters();
  /** Peers that there have been. */
  peers = 0;
  /** Peers that were turned away since there was one already. */
  refused = 0;
  readonly #longest: number;
  readonly #onLink: (up: boolean) => void;
  readonly #arena = new SlabArena();
  readonly #frame = new Frame(EMPTY);
  readonly #cursor = new Frame(EMPTY);
  readonly #splitter: FrameSplitter;
  readonly #clock: Clock;
  readonly #closeAlarm: Alarm;
  #source: PeerSource | null = null;
  #handler: NetifHandler | null = null;
  #peer: Socket | null = null;
  #referenced = true;
  #closed = false;
  /** Frames of this turn, one behind the other, that have not been written. */
  #slab: Slab | null = null;
  #from = 0;
  #to = 0;
  /** Where the reserved frame is. */
  #reserved: Slab | null = null;
  #start = 0;
  #end = 0;
  /** `reserve` answered null since. */
  #stalled = false;

  constructor(options: StreamNetifOptions) {
    this.name = options.name;
    this.mac = options.mac;
    this.mtu = options.mtu;
    this.#onLink = options.onLink;
    this.#longest = longestFrame(options.mtu, NO_OFFLOADS);
    this.#clock = options.clock;
    this.#closeAlarm = options.clock.alarm(() => this.#peer?.destroy());
    this.#splitter = new FrameSplitter(this.#longest, {
      frame: (bytes, start, end) => this.#receive(bytes, start, end),
      skipped: () => {
        this.counters.rxDropped++;
      },
    });
  }

  /** Whether there is a peer. */
  get isUp(): boolean {
    return this.#peer !== null;
  }

  /** The TCP port that it listens on; null if it does not. */
  get port(): number | null {
    return this.#source?.port ?? null;
  }

  /** Where peers come from; they are taken from `start` on. */
  use(source: PeerSource): void {
    this.#source = source;
  }

  start(handler: NetifHandler): void {
    if (this.#closed) throw new NetError('ENETDOWN', { syscall: 'start', reason: `${this.name} is closed` });
    if (this.#handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has been started` });
    }
    this.#handler = handler;
    this.#source?.start();
  }

  unref(): void {
    this.#referenced = false;
    this.#source?.unref();
    this.#peer?.unref();
  }

  /** A peer has come. It is turned away if there is one. */
  attach(socket: Socket): void {
    if (this.#peer !== null || this.#closed) {
      this.refused++;
      socket.destroy();
      return;
    }
    this.#peer = socket;
    if (!this.#referenced) socket.unref();
    this.peers++;
    this.#splitter.reset();
    let cause: Error | undefined;
    socket.on('data', (chunk) => this.#read(socket, chunk));
    socket.on('drain', () => this.#drained());
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#detach(socket, cause));
    this.#onLink(true);
  }

  /** There will be no peer any more. */
  end(error: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handler?.closed(error);
  }

  /** @throws NetError `EMSGSIZE` for more than the interface takes */
  reserve(size: number): Frame | null {
    if (this.#closed) return null;
    if (size > this.#longest) {
      throw new NetError('EMSGSIZE', {
        syscall: 'reserve',
        reason: `${this.name} takes frames of up to ${this.#longest} bytes, not ${size}`,
      });
    }
    if (this.#peer !== null && this.#peer.writableLength >= BACKLOG) {
      this.#stalled = true;
      this.counters.txStalls++;
      return null;
    }
    const slab = this.#arena.room(LENGTH + size);
    if (slab !== this.#slab) this.#write();
    this.#reserved = slab;
    this.#start = slab.position;
    this.#end = slab.position + LENGTH + size;
    return this.#frame.reset(slab.bytes, this.#start + LENGTH, this.#end);
  }

  commit(frame: Frame): void {
    const slab = this.#reserved;
    if (slab === null || frame !== this.#frame) {
      throw new NetError('EINVAL', { syscall: 'commit', reason: `${this.name}: nothing was reserved` });
    }
    this.#reserved = null;
    if (this.#peer === null || this.#closed) {
      this.counters.txDropped++;
      return;
    }
    const size = this.#end - this.#start - LENGTH;
    setLength(slab.bytes, this.#start, size);
    this.#arena.take(slab, this.#end, 1);
    // The socket keeps the bytes for as long as it likes and does not say when it is done.
    slab.release(this.#end, true);
    if (this.#slab === null) {
      this.#slab = slab;
      this.#from = this.#start;
    }
    this.#to = this.#end;
    this.counters.txFrames++;
    this.counters.txBytes += size;
    if (this.#to - this.#from >= GATHER) this.#write();
  }

  flush(): void {
    this.#write();
  }

  /** Resolves when the socket has sent what was committed, or has been given up. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#write();
    this.#closed = true;
    const peer = this.#peer;
    if (peer !== null) {
      await new Promise<void>((resolve) => {
        peer.once('close', resolve);
        peer.end(() => peer.destroy());
        this.#closeAlarm.set(this.#clock.now() + CLOSE_MS);
      });
    }
    await this.#source?.stop();
    this.#handler?.closed();
  }

  #write(): void {
    const slab = this.#slab;
    if (slab === null) return;
    this.#slab = null;
    this.#peer?.write(slab.bytes.subarray(this.#from, this.#to));
  }

  #read(socket: Socket, chunk: Uint8Array): void {
    if (this.#closed || socket !== this.#peer) return;
    const inStep = this.#splitter.push(chunk);
    this.#handler?.flush();
    if (inStep) return;
    this.counters.rxErrors++;
    socket.destroy(
      new NetError('EPROTO', { syscall: 'read', reason: `${this.name}: that is no length of a frame` }),
    );
  }

  #receive(bytes: Uint8Array, start: number, end: number): void {
    if (this.#closed) return;
    if (end - start < ETHERNET_HEADER) {
      this.counters.rxErrors++;
      return;
    }
    this.counters.rxFrames++;
    this.counters.rxBytes += end - start;
    // A chunk is memory of its own, so it does not matter whether it is retained.
    this.#handler?.receive(this.#cursor.reset(bytes, start, end));
  }

  #drained(): void {
    if (!this.#stalled || this.#closed) return;
    this.#stalled = false;
    this.#handler?.writable();
  }

  #detach(socket: Socket, error: Error | undefined): void {
    if (socket !== this.#peer) return;
    this.#closeAlarm.clear();
    this.#peer = null;
    this.#slab = null;
    this.#onLink(false);
    if (this.#closed) return;
    // Whoever waits for room finds that there is: the link is down.
    this.#drained();
    this.#source?.lost(error);
  }
}
