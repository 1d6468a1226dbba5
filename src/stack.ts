/**
 * What an application is written against. `DirectStack` (our own layers over a
 * netif) and `SocketStack` (the host's sockets) both implement it; an
 * application cannot tell which it runs on.
 */
import type { Family } from './address/index.ts';

export interface Endpoint {
  readonly address: string;
  readonly port: number;
  readonly family: Family;
}

export interface Stack {
  readonly kind: 'direct' | 'socket';
  readonly tcp: Tcp;
  readonly udp: Udp;
  /**
   * The addresses of `hostname`, or of a literal address itself.
   * Rejects with `ENOTFOUND`.
   */
  resolve(hostname: string): Promise<string[]>;
  /** Counters of every layer: plain nested numbers. */
  statistics(): StackStatistics;
  /** Closes listeners, closes flows in order (aborting those that do not follow within a bound), releases the netif. */
  close(): Promise<void>;
}

/** Nested counters, in SNMP's terms where there is one (RFC 4293, RFC 4022, RFC 4113). */
export interface StackStatistics {
  readonly [name: string]: number | string | StackStatistics;
}

/** What decides how much may be in flight: RFC 6582, RFC 9438, draft-ietf-ccwg-bbr. */
export type CongestionControl = 'newreno' | 'cubic' | 'bbr';

export interface ListenOptions {
  /** 0 takes a free port. */
  readonly port: number;
  /** A local address; all of them by default. */
  readonly host?: string;
  /** Most connections that wait between handshake and `onFlow`; 511 by default. */
  readonly backlog?: number;
  /** For the flows that are accepted; the stack's by default. The host's sockets keep the host's: `stats.congestionControl` tells. */
  readonly congestionControl?: CongestionControl;
}

export interface ConnectOptions {
  readonly port: number;
  readonly host: string;
  readonly localPort?: number;
  readonly localAddress?: string;
  /** First bytes to send: with the SYN where TCP Fast Open is on and the peer known, else right after the handshake. */
  readonly data?: Uint8Array;
  /** The stack's by default. The host's sockets keep the host's: `stats.congestionControl` tells. */
  readonly congestionControl?: CongestionControl;
  /** Gives up with `ETIMEDOUT`; by default when the SYN retries are used up. */
  readonly timeoutMs?: number;
  /** Aborting it rejects with its reason and forgets the connection. */
  readonly signal?: AbortSignal;
}

export interface Tcp {
  /** Rejects with `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EINVAL`. */
  listen(options: ListenOptions, onFlow: (flow: Flow) => void): Promise<Listener>;
  /** Rejects with `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, `ENETUNREACH`, `EADDRNOTAVAIL`, `ENOTFOUND`, … */
  connect(options: ConnectOptions): Promise<Flow>;
}

export interface Listener {
  readonly local: Endpoint;
  /** Stops listening. Flows that were accepted live on. */
  close(): Promise<void>;
}

/**
 * Takes the next bytes of a flow, in order. `view` is the stack's own memory and
 * valid during the call only: copy what is to be kept. The answer `false`
 * pauses the flow until `resume`, a promise (as `write` gives) until it
 * resolves; any other goes on.
 */
export type DataListener = (view: Uint8Array) => unknown;

/** One TCP connection. Chunks are Buffers on Node. */
export interface Flow extends AsyncIterable<Uint8Array> {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** The next bytes in order; null at the end of the stream. Rejects with `ECONNRESET`, `ETIMEDOUT`, … */
  read(): Promise<Uint8Array | null>;
  /**
   * Reads by callback, in place of `read`: without a promise or memory for each
   * piece. `listener` is called with what is there already, then with what
   * comes, as it comes. While the flow is paused the advertised window closes.
   *
   * Resolves at the end of the stream, or when the flow is closed; rejects with
   * the error that ended the flow, or with what the listener threw or its promise
   * rejected with, after which it is not called again. One at a time, and not beside a `read` that waits:
   * rejects with `EINVAL`, as `read` does meanwhile.
   */
  onData(listener: DataListener): Promise<void>;
  /** Goes on where the listener of `onData` answered false. */
  resume(): void;
  /**
   * Queues `data`; resolves when `write` may be called again. The data is kept
   * by reference and is not to be changed until the peer has acknowledged it.
   * Rejects with `EPIPE` after `shutdown`, or the error that ended the flow.
   */
  write(data: Uint8Array): Promise<void>;
  writev(data: readonly Uint8Array[]): Promise<void>;
  /** Half-close: FIN after all that is queued. Reading goes on. Resolves when the peer has acknowledged it. */
  shutdown(): Promise<void>;
  /** Closes both ways in order: sends what is queued and FIN. Unread data makes it a reset (RFC 2525 §2.17). Resolves when the peer has acknowledged all, or the flow has failed. */
  close(): Promise<void>;
  /** Ends the connection at once with RST. */
  abort(): void;
  readonly stats: FlowStats;
  setNoDelay(noDelay: boolean): void;
  /** Probes an idle peer; `delayMs` is the idle time before the first probe. */
  setKeepAlive(enable: boolean, delayMs?: number): void;
  /**
   * What comes, as a WHATWG byte stream (with BYOB readers); reads only when it
   * is read. Not to be mixed with `read`.
   */
  readonly readable: ReadableStream<Uint8Array>;
  /**
   * What goes, as a WHATWG stream of bytes, which are copied. Its `close` is
   * `shutdown`, its `abort` is `abort`. Not to be mixed with `write`.
   */
  readonly writable: WritableStream<ArrayBufferView | ArrayBuffer>;
}

/**
 * A snapshot in the terms of Linux's `tcp_info`. Times in milliseconds, the rest in
 * bytes or counts; what the host's sockets do not tell is 0.
 */
export interface FlowStats {
  readonly state: string;
  /** Name of the algorithm; `host` where the host decides. */
  readonly congestionControl: string;
  /** Loss recovery: none, fast recovery, or after a timeout. */
  readonly recovery: 'open' | 'fast' | 'loss';
  /** Agreed on in the handshake. */
  readonly timestamps: boolean;
  readonly sack: boolean;
  readonly ecn: boolean;
  /** Window scales, ours for sending and the one that we announced; 0 without. */
  readonly sendScale: number;
  readonly receiveScale: number;
  readonly rttMs: number;
  readonly rttVarMs: number;
  readonly minRttMs: number;
  readonly rtoMs: number;
  /** Doublings in `rtoMs`. */
  readonly backoffs: number;
  /** Payload of a full-sized segment now; what the peer announced, and what we did. */
  readonly mss: number;
  readonly peerMss: number;
  readonly announcedMss: number;
  /** Bytes of IP packet that the path takes. */
  readonly pathMtu: number;
  readonly cwnd: number;
  readonly ssthresh: number;
  readonly sendWindow: number;
  readonly receiveWindow: number;
  readonly bytesInFlight: number;
  /** Of what was sent and not acknowledged: reported as received, and taken for lost. */
  readonly bytesSacked: number;
  readonly bytesLost: number;
  /** Bits per second at which segments are spread; 0 while they are not. */
  readonly pacingRateBps: number;
  readonly bytesSent: number;
  readonly bytesAcked: number;
  readonly bytesReceived: number;
  readonly bytesRetransmitted: number;
  readonly segmentsSent: number;
  readonly segmentsReceived: number;
  readonly retransmits: number;
  /** Times that the retransmission timer fired. */
  readonly timeouts: number;
  /** Fast recoveries, how many reductions were taken back, and tail loss probes. */
  readonly fastRecoveries: number;
  readonly spuriousRecoveries: number;
  readonly lossProbes: number;
  /** Reports of duplicates by the peer (D-SACK), and whether the path has been seen to reorder. */
  readonly duplicateReports: number;
  readonly reorderingSeen: boolean;
  /** Marks of the path (RFC 3168) that made us reduce. */
  readonly congestionMarks: number;
  /** Segments received out of order, and bytes received twice. */
  readonly segmentsOutOfOrder: number;
  readonly bytesDuplicate: number;
  /** Since something was last sent, and last received. */
  readonly sinceSentMs: number;
  readonly sinceReceivedMs: number;
  /** Bytes that `write` took and that were never sent. */
  readonly bytesUnsent: number;
  /** Bytes that `write` took and that the peer has not acknowledged. */
  readonly sendQueue: number;
  /** Bytes that came in order and that were not read. */
  readonly receiveQueue: number;
}

export interface UdpBindOptions {
  /** 0 or none takes a free port. */
  readonly port?: number;
  readonly host?: string;
  /** The only interface that is listened on and sent by; all of them by default. Rejects with `ENODEV`; `EOPNOTSUPP` on the host's sockets. */
  readonly interface?: string;
  /** Allows sending to broadcast addresses. */
  readonly broadcast?: boolean;
  /** Most bytes of datagrams that wait to be read; more are dropped and counted. */
  readonly receiveBuffer?: number;
  /** Shares the port with others that say so too: a group's datagrams go to all of them, others to the last that was bound. */
  readonly reuseAddress?: boolean;
  /** With `::`: takes no IPv4 (RFC 3493 §5.3), so that another socket may have the port there. */
  readonly ipv6Only?: boolean;
}

export interface MembershipOptions {
  /** Takes only what this sender sends; may be called again for others (RFC 4607). */
  readonly source?: string;
  /** Address or name of the interface that the group is joined on; the first one by default. */
  readonly interface?: string;
}

export interface Datagram {
  readonly data: Uint8Array;
  readonly remote: Endpoint;
}

export interface Udp {
  /** Rejects with `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL`. */
  bind(options?: UdpBindOptions): Promise<UdpSocket>;
}

export interface UdpSocket extends AsyncIterable<Datagram> {
  readonly local: Endpoint;
  /** Fixes the peer: only its datagrams are received, errors it causes (`ECONNREFUSED`) are reported by `receive`. */
  connect(remote: { host: string; port: number }): Promise<void>;
  disconnect(): void;
  /** The next datagram; null after `close`. */
  receive(): Promise<Datagram | null>;
  /** Rejects with `EMSGSIZE`, `ENETUNREACH`, `EACCES` (broadcast not allowed), `EHOSTUNREACH`, … */
  send(data: Uint8Array, remote?: { host: string; port: number }): Promise<void>;
  /**
   * Joins a multicast group: what is sent to it, to this socket's port, is
   * received. Throws `EINVAL` (no group), `EADDRINUSE` (joined already), `ENODEV`
   * (no such interface), `ENOBUFS` (too many).
   */
  addMembership(group: string, options?: MembershipOptions): void;
  /** Leaves it, or a source of it. Throws `EADDRNOTAVAIL` where it was not joined. */
  dropMembership(group: string, options?: MembershipOptions): void;
  /** How many hops what is sent to groups may go, 0 to 255; 1 at first. Throws `EINVAL`. */
  setMulticastTtl(ttl: number): void;
  /** Whether what is sent to a group that this host is in comes back; true at first. */
  setMulticastLoopback(enable: boolean): void;
  /** Address or name of the interface that groups are sent to by. Throws `EADDRNOTAVAIL`. */
  setMulticastInterface(address: string): void;
  /** Datagrams dropped because nobody read them in time. */
  readonly dropped: number;
  close(): Promise<void>;
}

/** An application for the runner: the default export of its module. */
export type Application = (stack: Stack, args: string[]) => void | Promise<void>;
