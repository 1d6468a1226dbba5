import type { IpAddress } from '../address/index.ts';
import type { IpPath } from '../ip.ts';
import type { Connection } from './connection.ts';
import type { Endpoint } from './demux.ts';
import { emitBare, emitTimestamped } from './emit.ts';
import type { Segment } from './segment.ts';
import { advance, after, before } from './sequence.ts';
import { ACK, RST } from './wire.ts';

/** What a time-wait needs of the layer. */
export interface TimeWaitHost {
  readonly now: number;
  /** 2 MSL begins anew. */
  renew(timeWait: TimeWait): void;
  /** Ends it, and treats the SYN as one to a listener. */
  reopen(timeWait: TimeWait, segment: Segment): void;
  mayChallenge(): boolean;
}

/**
 * A connection in TIME-WAIT (RFC 9293 §3.6): only what it takes to answer old
 * segments, so that thousands cost little.
 */
export class TimeWait implements Endpoint {
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  tableNext: Endpoint | null = null;
  /** When it ends, and between whom it stands; kept in order by `TimeWaitQueue`. */
  until = 0;
  earlier: TimeWait | null = null;
  later: TimeWait | null = null;
  readonly #host: TimeWaitHost;
  readonly #path: IpPath;
  readonly #sendNext: number;
  readonly #receiveNext: number;
  /** The window field of the connection's last ACKs. */
  readonly #window: number;
  readonly #timestamps: boolean;
  readonly #timestampOffset: number;
  #timestampRecent: number;

  constructor(host: TimeWaitHost, connection: Connection) {
    this.#host = host;
    this.local = connection.local;
    this.localPort = connection.localPort;
    this.remote = connection.remote;
    this.remotePort = connection.remotePort;
    this.#path = connection.path;
    this.#sendNext = connection.sender.next;
    this.#receiveNext = connection.receiver.next;
    this.#window = Math.min(0xffff, connection.receiver.window >>> connection.receiver.shift);
    this.#timestamps = connection.timestamps;
    this.#timestampOffset = connection.timestampOffset;
    this.#timestampRecent = connection.receiver.timestampRecent;
  }

  /** RFC 9293 §3.10.7.4 for TIME-WAIT, with RFC 6191 and RFC 1337. */
  receive(segment: Segment): void {
    // A reset must not cut TIME-WAIT short (RFC 1337 §3, fix F1).
    if (segment.hasRst) return;
    if (segment.hasSyn && !segment.hasAck && this.#mayReopen(segment)) {
      this.#host.reopen(this, segment);
      return;
    }
    if (segment.hasFin) {
      const { hasTimestamps, timestampValue } = segment.options;
      if (hasTimestamps && after(timestampValue, this.#timestampRecent)) {
        this.#timestampRecent = timestampValue;
      }
      this.#host.renew(this);
      this.acknowledge();
      return;
    }
    if (segment.length > 0 || segment.sequence !== this.#receiveNext) {
      if (this.#host.mayChallenge()) this.acknowledge();
    }
  }

  /** RFC 6191 §2: a SYN that is provably newer than anything of the old connection. */
  #mayReopen(segment: Segment): boolean {
    const { hasTimestamps, timestampValue } = segment.options;
    if (this.#timestamps && hasTimestamps && timestampValue !== this.#timestampRecent) {
      return after(timestampValue, this.#timestampRecent);
    }
    return after(segment.sequence, this.#receiveNext);
  }

  /** An ISN for the next incarnation has to be above this. */
  get sendNext(): number {
    return this.#sendNext;
  }

  /** Answers a SYN for a new connection that nobody listens for: an ACK of the old one would not end it. */
  refuse(syn: Segment): void {
    const acknowledgment = advance(syn.sequence, syn.length);
    emitBare(this.#path, this.localPort, this.remotePort, 0, acknowledgment, RST | ACK);
  }

  acknowledge(): void {
    const { localPort, remotePort } = this;
    if (this.#timestamps) {
      const value = (Math.trunc(this.#host.now) + this.#timestampOffset) | 0;
      const echo = this.#timestampRecent;
      const next = this.#receiveNext;
      emitTimestamped(
        this.#path,
        localPort,
        remotePort,
        this.#sendNext,
        next,
        ACK,
        this.#window,
        value,
        echo,
      );
    } else {
      emitBare(this.#path, localPort, remotePort, this.#sendNext, this.#receiveNext, ACK, this.#window);
    }
  }

  /** Whether `initial` is far enough above the old numbers. */
  allows(initial: number): boolean {
    return before(this.#sendNext, advance(initial, -1));
  }
}

/**
 * All time-waits in the order in which they end: they all last equally long, so a
 * queue is enough. One that has left it points at nobody: what is old and dead would
 * else keep all that came after it until the next full collection.
 */
export class TimeWaitQueue {
  /** The first to end, and the last. */
  #oldest: TimeWait | null = null;
  #newest: TimeWait | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The first to end. */
  get oldest(): TimeWait | null {
    return this.#oldest;
  }

  add(item: TimeWait, until: number): void {
    this.remove(item);
    item.until = until;
    item.earlier = this.#newest;
    if (this.#newest === null) this.#oldest = item;
    else this.#newest.later = item;
    this.#newest = item;
    this.#size++;
  }

  remove(item: TimeWait): void {
    const { earlier, later } = item;
    if (earlier === null && this.#oldest !== item) return;
    if (earlier === null) this.#oldest = later;
    else earlier.later = later;
    if (later === null) this.#newest = earlier;
    else later.earlier = earlier;
    item.earlier = null;
    item.later = null;
    this.#size--;
  }

  clear(): void {
    while (this.#oldest !== null) this.remove(this.#oldest);
  }
}
