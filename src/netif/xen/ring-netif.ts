import type { MacAddress } from '../../address/index.ts';
import { EMPTY } from '../../bytes/index.ts';
import { NetError } from '../../errors.ts';
import type { Clock } from '../../time/index.ts';
import { completeChecksum } from '../complete.ts';
import {
  CHECKSUM_PARTIAL,
  ETHERNET_HEADER,
  Frame,
  type Netif,
  type NetifCounters,
  type NetifHandler,
  netifCounters,
  type Offloads,
} from '../netif.ts';
import { CutFrames } from './cut.ts';
import { ETHERTYPE_IPV4, etherType } from './headers.ts';
import { type Hypervisor, PAGE_SIZE } from './hypervisor.ts';
import { type ReceivePromises, type RingOffloads, stackOffloads } from './offloads.ts';
import { PeerError } from './peer-error.ts';
import { Poller } from './poller.ts';
import { MAX_PACKET } from './wire.ts';
import type { Driver } from './xenbus-end.ts';

/** An 802.1Q tag is not counted in the MTU. */
const VLAN_TAG = 4;

/** How long `close` waits for the other end to take what was committed. */
const DRAIN_MS = 200;

/** What the other end of a connection takes. */
export interface PeerAbilities {
  /** Packets of several slots. */
  readonly scatterGather: boolean;
  /** Segments, of IPv4 and of IPv6. */
  readonly segmentation: boolean;
  readonly checksumIpv4: boolean;
  readonly checksumIpv6: boolean;
}

/** The rings between two ends, from the handshake to their end. Methods throw {@link PeerError} when the other one breaks the rules. */
export interface RingConnection {
  /** Sets the cursor on memory for a frame that there is room for; false if there is none at the last look. */
  place(frame: Frame, size: number): boolean;
  /** Looks again, and if there is still no room asks for an event that comes when there may be some. True if there is room. */
  waitForRoom(size: number): boolean;
  /** Sends the frame that was placed last; false if the other end does not want it. */
  send(frame: Frame, size: number): boolean;
  /** Everything sent is visible to the other end, which is told if it asked. */
  flush(): void;
  /** Frames that the other end had not dealt with at the last look. */
  readonly inFlight: number;
  /** Looks what it has dealt with. */
  look(): void;
  /** Hands over what came, up to a bound; the packets taken off the ring. Stops when `isOpen` says no. */
  receive(handler: NetifHandler, isOpen: () => boolean): number;
  /** Asks for an event when something comes. True if something has. */
  arm(): boolean;
  /** Both ends are there. */
  begin(): void;
  /** Gives everything back. Idempotent. */
  destroy(): void;
}

/** The handshake, as far as the netif has to do with it. */
export interface Bus {
  start(): Promise<void>;
  close(): Promise<void>;
  abandon(): Promise<void>;
  /** Where it stands, for people. */
  describe(): Promise<string>;
}

/** The device, as whoever opens it has found and wants it. */
export interface RingSetup {
  readonly hypervisor: Hypervisor;
  readonly clock: Clock;
  /** In xenstore. */
  readonly folder: string;
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
}

/** What the rings of every connection need to know of the device. */
export interface ConnectionShare {
  readonly hypervisor: Hypervisor;
  readonly counters: NetifCounters;
  readonly promises: ReceivePromises;
  readonly onEvent: () => void;
}

/**
 * What both ends of a Xen network device have in common: a netif over whatever
 * connection there is at the time.
 *
 * When the other end goes away and comes back, the device connects anew; in
 * between, `reserve` answers null. Frames that were under way count as
 * `txDropped`. What was promised at first (`mtu`, `transmit`) holds for every later
 * connection: for a peer that takes no segments, frames are cut here; one that does
 * not take packets as long as the MTU ends the device.
 */
export abstract class RingNetif implements Netif {
  readonly name: string;
  readonly mac: MacAddress;
  readonly mtu: number;
  readonly receive: Offloads;
  readonly counters: NetifCounters = netifCounters();
  readonly #clock: Clock;
  readonly #poller: Poller;
  readonly #frame = new Frame(EMPTY);
  readonly #firstUp = withResolvers();
  readonly #isOpen = (): boolean => this.#connection !== null && !this.#over;
  /** What is done in software whatever the peer takes. */
  readonly #software: boolean;
  #cutter: CutFrames | null = null;
  /** Null unless the ring carries ordinary frames and the stack works with large ones. */
  #cut: CutFrames | null = null;
  #transmit: Offloads = { checksum: 'none', segmentation: 0 };
  #hasPromised = false;
  #peer!: PeerAbilities;
  #connection: RingConnection | null = null;
  /** The other end is there. */
  #isUp = false;
  /** Bytes of the frame that was reserved and not committed; 0 for none. */
  #reserved = 0;
  /** Most bytes that `reserve` was asked for in vain since `writable`; 0 for none. */
  #wanted = 0;
  #handler: NetifHandler | null = null;
  #over = false;

  protected abstract readonly bus: Bus;
  /** For the connections. */
  protected readonly share: ConnectionShare;
  /** For the handshake, which adds how a connection is made. */
  protected readonly driver: Driver = {
    connected: () => this.up(),
    disconnect: () => this.detach(),
    gone: (error) => this.#gone(error),
  };

  protected constructor(setup: RingSetup, offloads: RingOffloads) {
    const { hypervisor, clock, name, mac, mtu } = setup;
    const { checksum, segmentation, software } = offloads;
    this.#clock = clock;
    this.name = name;
    this.mac = mac;
    this.mtu = mtu;
    this.receive = stackOffloads(checksum, segmentation, software);
    this.#software = software;
    this.share = {
      hypervisor,
      counters: this.counters,
      promises: {
        checksum,
        segmentation,
        coalesce: software,
        longest: segmentation ? Math.max(this.#longest, MAX_PACKET) : this.#longest,
      },
      onEvent: () => this.#poller.kick(),
    };
    // Whoever opens the device awaits it; one that is closed before may have nobody.
    this.#firstUp.promise.catch(() => {});
    this.#poller = new Poller(clock, { poll: () => this.#poll(), arm: () => this.#arm() });
  }

  /** What the first peer takes; known once the device is open. */
  get transmit(): Offloads {
    return this.#transmit;
  }

  /** Whether the other end is there. */
  get connected(): boolean {
    return this.#isUp;
  }

  /** Starts the handshake; resolves at the first connection. */
  async open(): Promise<void> {
    await this.bus.start();
    await this.#firstUp.promise;
  }

  /** How far the handshake has come, for people. */
  describe(): Promise<string> {
    return this.bus.describe();
  }

  /** @throws NetError `EINVAL` the second time, `ENETDOWN` once the device is gone */
  start(handler: NetifHandler): void {
    if (this.#over) throw new NetError('ENETDOWN', { syscall: 'start', reason: `${this.name} is closed` });
    if (this.#handler !== null) {
      throw new NetError('EINVAL', { syscall: 'start', reason: `${this.name} has a handler already` });
    }
    this.#handler = handler;
    this.#poller.soon();
  }

  /** @throws NetError `EMSGSIZE` if no frame of this device can be so long */
  reserve(size: number): Frame | null {
    if (size > this.#longestSent) {
      throw new NetError('EMSGSIZE', {
        syscall: 'reserve',
        reason: `a frame of ${size} bytes; ${this.name} takes ${this.#longestSent}`,
      });
    }
    this.#reserved = 0;
    if (this.#over) return null;
    const cut = this.#cut;
    // Of a frame that is cut, what there is no room for waits: for one such frame there is always some.
    if (cut === null ? !this.#place(size) : !this.#isUp || cut.waits) {
      this.counters.txStalls++;
      if (size > this.#wanted) this.#wanted = Math.max(size, 1);
      return null;
    }
    this.#reserved = size;
    return cut === null ? this.#frame : cut.reserve(size);
  }

  commit(frame: Frame): void {
    const size = this.#reserved;
    const { counters } = this;
    if (!this.#isUp || this.#over) {
      counters.txDropped++;
      return;
    }
    if (size === 0 || frame !== (this.#cut?.frame ?? this.#frame)) {
      throw new NetError('EINVAL', { syscall: 'commit', reason: `${this.name}: nothing was reserved` });
    }
    this.#reserved = 0;
    if (size < ETHERNET_HEADER) {
      counters.txErrors++;
      return;
    }
    if (this.#cut !== null) {
      this.#commitCut(this.#cut, frame, size);
      return;
    }
    if (frame.checksum === CHECKSUM_PARTIAL && !this.#peerCompletes(frame, size)) {
      completeChecksum(frame, frame.end);
    }
    this.#send(size);
  }

  flush(): void {
    if (this.#isUp) this.#connection!.flush();
  }

  async close(): Promise<void> {
    if (this.#over) return;
    this.flush();
    this.#over = true;
    try {
      await this.#drain();
      await this.bus.close();
    } finally {
      this.#poller.stop();
      this.#cutter?.release();
      this.#firstUp.reject(
        new NetError('ECONNABORTED', { syscall: 'xenbus', reason: `${this.name} was closed` }),
      );
      this.#handler?.closed();
    }
  }

  // ------------------------------------------------- for the two kinds of device

  /**
   * Takes over the rings that are about to be told to a peer, or were told by it.
   *
   * @throws NetError `EOPNOTSUPP` if the peer does not take packets as long as was promised to the stack
   */
  protected attach(make: () => RingConnection, peer: PeerAbilities): void {
    if (!peer.scatterGather && this.#longest > PAGE_SIZE) {
      throw new NetError('EOPNOTSUPP', {
        syscall: 'xenbus',
        reason: `the other end takes frames of one page only (no feature-sg), which is too little for an MTU of ${this.mtu}`,
      });
    }
    if (!this.#hasPromised) {
      this.#hasPromised = true;
      this.#transmit = stackOffloads(peer.checksumIpv4, peer.segmentation, this.#software);
    }
    // The stack goes on sending what was promised at first, whether this peer takes it or not.
    const isCut = this.#software || (this.#transmit.segmentation > 0 && !peer.segmentation);
    this.#cutter ??= isCut ? new CutFrames(MAX_PACKET + VLAN_TAG, (bytes) => this.#copyIn(bytes)) : null;
    this.#cut = isCut ? this.#cutter : null;
    this.#peer = peer;
    this.#connection = make();
  }

  /** The peer has the rings. */
  protected up(): void {
    this.#isUp = true;
    this.#connection!.begin();
    this.#firstUp.resolve();
    this.#poller.soon();
  }

  /** Gives the rings back. Nothing to do where there are none. */
  protected detach(): void {
    const connection = this.#connection;
    this.#isUp = false;
    this.#reserved = 0;
    this.#connection = null;
    if (connection === null) return;
    this.counters.txDropped += connection.inFlight + (this.#cut?.drop() ?? 0);
    connection.destroy();
  }

  /** Runs what touches the rings; a peer that breaks the rules in it is cut off. */
  protected guard(task: () => void): void {
    try {
      task();
    } catch (error) {
      this.#broken(error);
    }
  }

  /** The device cannot be used any more. */
  #gone(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#poller.stop();
    this.#cutter?.release();
    this.#firstUp.reject(error);
    this.#handler?.closed(error);
  }

  // ---------------------------------------------------------------- the rings

  get #longest(): number {
    return this.mtu + ETHERNET_HEADER + VLAN_TAG;
  }

  /** Bytes of the frame that there has to be room for before `writable`. */
  get #room(): number {
    return this.#cut === null ? this.#wanted : Math.min(this.#wanted, this.#longest);
  }

  get #longestSent(): number {
    return Math.max(this.#longest, this.#transmit.segmentation);
  }

  #place(size: number): boolean {
    const connection = this.#connection;
    if (!this.#isUp || connection === null) return false;
    try {
      const frame = this.#frame;
      return connection.place(frame, size) || (connection.waitForRoom(size) && connection.place(frame, size));
    } catch (error) {
      this.#broken(error);
      return false;
    }
  }

  /** Sends the frame of `size` bytes that was placed. */
  #send(size: number): void {
    const { counters } = this;
    if (!this.#connection!.send(this.#frame, size)) {
      counters.txDropped++;
      return;
    }
    counters.txFrames++;
    counters.txBytes += size;
  }

  #commitCut(cut: CutFrames, frame: Frame, size: number): void {
    if (frame.segmentSize === 0 && size > this.#longest) {
      this.counters.txErrors++;
      return;
    }
    cut.commit(frame, size);
    // The peer may have been cut off in it.
    if (!this.#isUp) this.counters.txDropped += cut.drop();
  }

  /** Sends an ordinary frame from memory of ours; false if there is no room for it. */
  #copyIn(bytes: Uint8Array): boolean {
    if (!this.#place(bytes.length)) return false;
    this.#frame.bytes.set(bytes, this.#frame.start);
    this.#send(bytes.length);
    return true;
  }

  #poll(): boolean {
    const connection = this.#connection;
    const handler = this.#handler;
    if (!this.#isUp || connection === null || handler === null || this.#over) return false;
    try {
      const packets = connection.receive(handler, this.#isOpen);
      if (packets > 0 && this.#isOpen()) handler.flush();
      if (this.#cut?.waits === true && !this.#goOn(this.#cut)) return packets > 0;
      if (this.#wanted > 0 && this.#isOpen() && this.#connection!.waitForRoom(this.#room)) {
        this.#wanted = 0;
        handler.writable();
      }
      return packets > 0;
    } catch (error) {
      this.#broken(error);
      return false;
    }
  }

  /** Cuts on where there was no room; true if nothing waits any more. */
  #goOn(cut: CutFrames): boolean {
    if (!this.#isOpen()) return false;
    cut.resume();
    this.flush();
    return !cut.waits;
  }

  /** Room is asked for where it was found missing, so only the other direction is left. */
  #arm(): boolean {
    if (!this.#isUp || this.#handler === null || this.#over) return false;
    return this.#connection!.arm();
  }

  #peerCompletes(frame: Frame, size: number): boolean {
    const { checksumIpv4, checksumIpv6 } = this.#peer;
    if (checksumIpv4 === checksumIpv6) return checksumIpv4;
    const isIpv4 = etherType(frame.bytes, frame.end - size, frame.end) === ETHERTYPE_IPV4;
    return isIpv4 ? checksumIpv4 : checksumIpv6;
  }

  /** The peer is not to be trusted. Errors of our own are not its fault, and go on. */
  #broken(error: unknown): void {
    if (!(error instanceof PeerError)) throw error;
    void this.bus.abandon();
    this.#gone(error);
  }

  /** Until the other end has dealt with what was sent, if it does so in a decent time. */
  async #drain(): Promise<void> {
    const clock = this.#clock;
    try {
      for (let waited = 0; waited < DRAIN_MS && this.#isUp; waited++) {
        const connection = this.#connection!;
        connection.look();
        this.#cut?.resume();
        this.flush();
        if (connection.inFlight === 0 && this.#cut?.waits !== true) return;
        await new Promise<void>((resolve) => clock.alarm(resolve).set(clock.now() + 1));
      }
    } catch (error) {
      // A peer that breaks the rules now is left all the same.
      if (!(error instanceof PeerError)) throw error;
    }
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
