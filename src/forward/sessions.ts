import { PROTOCOL_TCP, PROTOCOL_UDP } from '../ip.ts';
import { tcpWire } from '../tcp/index.ts';

/** Who may send to a mapping (RFC 4787 §5). */
export type Filtering = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** What a mapping is, as far as its sessions are concerned. */
export interface Sessions {
  readonly protocol: number;
  /** By remote address, then by port. */
  readonly peers: Map<number, Map<number, Session>>;
  sessionCount: number;
  expiresAt: number;
}

export interface Timeouts {
  readonly udpMs: number;
  readonly tcpMs: number;
}

/** Remote ends of one mapping; the one that was there first makes room. */
const SESSIONS = 512;
/** RFC 5382 §5: connections that are opening or closing. */
const TRANSITORY_MS = 240_000;
/** RFC 5508 §3.2. */
const ICMP_MS = 60_000;

/** One remote end of a mapping: a TCP connection, or what goes to and fro with one UDP port. */
export class Session {
  expiresAt = 0;
  #opened = 0;
  #closed = 0;

  /** Follows a TCP connection by its flags; `side` is 1 for ours, 2 for theirs. */
  follow(flags: number, side: number): void {
    if ((flags & tcpWire.SYN) !== 0) {
      // A new connection on the ports of an old one.
      if ((flags & tcpWire.ACK) === 0 && this.#closed !== 0) {
        this.#opened = 0;
        this.#closed = 0;
      }
      this.#opened |= side;
    } else if (this.#opened === 0) {
      // It was there before we were.
      this.#opened = 3;
    }
    if ((flags & tcpWire.FIN) !== 0) this.#closed |= side;
    if ((flags & tcpWire.RST) !== 0) this.#closed = 3;
  }

  get isEstablished(): boolean {
    return this.#opened === 3 && this.#closed === 0;
  }
}

/** Whether `remote` may send to the mapping. */
export function admits({ peers }: Sessions, filtering: Filtering, remote: number, port: number): boolean {
  if (filtering === 'endpoint-independent') return true;
  const ports = peers.get(remote);
  if (ports === undefined) return false;
  return filtering === 'address-dependent' || ports.has(port);
}

/** A packet goes by the mapping, to or from `remote`: both live on from here. */
export function touch(
  sessions: Sessions,
  remote: number,
  port: number,
  flags: number,
  isOutbound: boolean,
  now: number,
  timeouts: Timeouts,
): void {
  let session = sessions.peers.get(remote)?.get(port);
  if (session === undefined) session = add(sessions, remote, port);
  if (sessions.protocol === PROTOCOL_TCP) session.follow(flags, isOutbound ? 1 : 2);
  session.expiresAt = now + timeout(sessions.protocol, session, timeouts);
  if (session.expiresAt > sessions.expiresAt) sessions.expiresAt = session.expiresAt;
}

/** Forgets remote ends that are over; how long the rest live is kept in `expiresAt`. */
export function prune(sessions: Sessions, now: number): void {
  sessions.expiresAt = 0;
  for (const [remote, ports] of sessions.peers) {
    for (const [port, { expiresAt }] of ports) {
      if (expiresAt > now) sessions.expiresAt = Math.max(sessions.expiresAt, expiresAt);
      else {
        ports.delete(port);
        sessions.sessionCount--;
      }
    }
    if (ports.size === 0) sessions.peers.delete(remote);
  }
}

function timeout(protocol: number, session: Session, { udpMs, tcpMs }: Timeouts): number {
  if (protocol === PROTOCOL_UDP) return udpMs;
  if (protocol !== PROTOCOL_TCP) return ICMP_MS;
  return session.isEstablished ? tcpMs : TRANSITORY_MS;
}

function add(sessions: Sessions, remote: number, port: number): Session {
  if (sessions.sessionCount >= SESSIONS) dropOldest(sessions);
  let ports = sessions.peers.get(remote);
  if (ports === undefined) {
    ports = new Map();
    sessions.peers.set(remote, ports);
  }
  const session = new Session();
  ports.set(port, session);
  sessions.sessionCount++;
  return session;
}

function dropOldest(sessions: Sessions): void {
  const oldest = sessions.peers.entries().next().value;
  if (oldest === undefined) return;
  const [remote, ports] = oldest;
  const port = ports.keys().next().value;
  if (port !== undefined && ports.delete(port)) sessions.sessionCount--;
  if (ports.size === 0) sessions.peers.delete(remote);
}
