import type { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { IpLayer, IpPacket, IpPath } from '../ip.ts';
import type { Random } from '../time/random.ts';
import { Connection } from './connection.ts';
import { hideOptions, revealOptions, SynCookies } from './cookies.ts';
import { kept } from './demux.ts';
import { EcnState } from './ecn.ts';
import { emitSyn } from './emit.ts';
import { answer, answerWithData, revive } from './handshake.ts';
import type { TcpHost } from './host.ts';
import type { SequenceGenerator } from './isn.ts';
import type { ListenSocket } from './listener.ts';
import { Receiver } from './receiver.ts';
import { Segment } from './segment.ts';
import { advance } from './sequence.ts';
import type { TimeWait } from './timewait.ts';
import * as wire from './wire.ts';

/** A cookie is good for two ticks of its clock. */
const COOKIE_LIFETIME_MS = 128_000;
const DEFAULT_MSS = 536;

/** What passive opens need of the layer. */
export interface PassiveHost extends TcpHost {
  readonly ip: IpLayer;
  readonly sequences: SequenceGenerator;
  /** Enters a connection into the table. */
  add(connection: Connection): void;
}

/**
 * Answers SYNs to listeners: with a connection, with one that takes the SYN's
 * data at once (RFC 7413), or, where too many are half-open, with a cookie that
 * needs no memory.
 */
export class PassiveOpens {
  readonly #host: PassiveHost;
  readonly #cookies: SynCookies;
  /** An ACK to a listener may be for a cookie until then. */
  #cookiesUntil = Number.NEGATIVE_INFINITY;

  constructor(host: PassiveHost, random: Random) {
    this.#host = host;
    this.#cookies = new SynCookies(random);
  }

  /** `above`: a connection in TIME-WAIT that this SYN replaces (RFC 6191). */
  answerSyn(
    listener: ListenSocket,
    local: IpAddress,
    remote: IpAddress,
    remotePort: number,
    segment: Segment,
    above?: TimeWait,
  ): void {
    const host = this.#host;
    if (!listener.takesSyn) {
      if (listener.answersByCookie) this.#sendCookie(listener, local, remote, remotePort, segment);
      else host.counters.listenOverflows++;
      return;
    }
    const path = this.pathTo(remote, local);
    if (path === null) return;
    const { port, config } = listener;
    const tuple = {
      path,
      local: kept(local, path.source),
      localPort: port,
      remote: kept(remote, path.destination),
      remotePort,
    };
    const connection = new Connection(host, config, tuple);
    const { isn, timestampOffset } = host.sequences.generate(local, port, remote, remotePort, host.now);
    // RFC 6191 §2: above everything of the connection that it replaces.
    const initial = above === undefined || above.allows(isn) ? isn : advance(above.sendNext, 0x20000);
    host.add(connection);
    host.counters.passiveOpens++;
    listener.begun(connection);
    if (config.fastOpen) connection.fastOpen = this.#fastOpenAnswer(listener, remote, segment);
    if (connection.fastOpen === 'accepted') {
      answerWithData(connection, segment, initial, timestampOffset);
    } else {
      answer(connection, segment, initial, timestampOffset);
    }
  }

  /** RFC 7413 §4.2.2: what a SYN with a Fast Open option leads to. */
  #fastOpenAnswer(
    listener: ListenSocket,
    remote: IpAddress,
    segment: Segment,
  ): 'none' | 'cookie' | 'accepted' {
    const { fastOpenStart, fastOpenEnd } = segment.options;
    if (fastOpenStart < 0) return 'none';
    const { bytes } = segment.frame;
    if (!this.#host.fastOpenCookies.check(remote, bytes, fastOpenStart, fastOpenEnd)) return 'cookie';
    return segment.payloadLength > 0 && listener.takesFastOpen ? 'accepted' : 'none';
  }

  /** The SYN queue is full: the SYN-ACK carries all that there is to remember. */
  #sendCookie(
    listener: ListenSocket,
    local: IpAddress,
    remote: IpAddress,
    remotePort: number,
    segment: Segment,
  ): void {
    const path = this.pathTo(remote, local);
    if (path === null) return;
    const host = this.#host;
    const { now, counters } = host;
    const { config, port } = listener;
    const { options } = segment;
    const peerMss = options.mss < 0 ? DEFAULT_MSS : options.mss;
    const cookie = this.#cookies.make(local, port, remote, remotePort, segment.sequence, peerMss, now);
    // Without timestamps there is no room for options: they are not offered.
    const timestamps = config.timestamps && options.hasTimestamps;
    const { timestampOffset } = host.sequences.generate(local, port, remote, remotePort, now);
    const sackPermitted = timestamps && config.sack && options.sackPermitted;
    const scaling = timestamps && config.windowScaling && options.windowScale >= 0;
    const ecn = timestamps && config.ecn !== false && EcnState.asks(segment.flags);
    const windowScale = scaling ? options.windowScale : -1;
    const sent = emitSyn(
      path,
      port,
      remotePort,
      cookie,
      advance(segment.sequence, 1),
      wire.SYN | wire.ACK | (ecn ? wire.ECE : 0),
      Math.min(config.receiveBuffer, 0xffff),
      {
        mss: Math.min(config.maxSegment, path.interfaceMtu - path.headerLength - wire.HEADER),
        sackPermitted,
        timestamps,
        timestampValue: hideOptions((Math.trunc(now) + timestampOffset) | 0, {
          windowScale,
          sackPermitted,
          ecn,
        }),
        timestampEcho: options.timestampValue,
        windowScale: scaling ? Receiver.shiftFor(config.receiveBuffer) : -1,
        fastOpenCookie: null,
      },
    );
    if (!sent) return;
    counters.synCookiesSent++;
    counters.outSegs++;
    this.#cookiesUntil = now + COOKIE_LIFETIME_MS;
  }

  /** Whether the ACK is the answer to a cookie; if so, the connection exists and has received it. */
  takeCookie(listener: ListenSocket, packet: IpPacket, segment: Segment): boolean {
    const host = this.#host;
    if (segment.hasSyn || host.now >= this.#cookiesUntil) return false;
    const { frame } = packet;
    const local = packet.destination;
    const remote = packet.source;
    const remotePort = wire.sourcePort(frame.bytes, frame.start);
    const peerInitial = advance(segment.sequence, -1);
    const cookie = advance(segment.acknowledgment, -1);
    const { port, config } = listener;
    const mss = this.#cookies.check(local, port, remote, remotePort, peerInitial, cookie, host.now);
    if (mss === 0) {
      host.counters.synCookiesFailed++;
      return false;
    }
    // No room for it now: the peer will repeat its data, and with it the cookie.
    if (!listener.hasRoom) return true;
    const path = this.pathTo(remote, local);
    if (path === null) return true;
    const timestamps = config.timestamps && segment.options.hasTimestamps;
    const said = timestamps
      ? revealOptions(segment.options.timestampEcho)
      : { windowScale: -1, sackPermitted: false, ecn: false };
    const syn = new Segment(frame);
    syn.sequence = peerInitial;
    syn.flags = wire.SYN | (said.ecn ? wire.ECE | wire.CWR : 0);
    syn.options.mss = mss;
    syn.options.windowScale = said.windowScale;
    syn.options.sackPermitted = said.sackPermitted;
    syn.options.hasTimestamps = timestamps;
    syn.options.timestampValue = segment.options.timestampValue;
    const tuple = {
      path,
      local: kept(local, path.source),
      localPort: port,
      remote: kept(remote, path.destination),
      remotePort,
    };
    const connection = new Connection(host, config, tuple);
    const { timestampOffset } = host.sequences.generate(local, port, remote, remotePort, host.now);
    host.add(connection);
    host.counters.passiveOpens++;
    host.counters.synCookiesReceived++;
    listener.begun(connection);
    revive(connection, syn, cookie, timestampOffset);
    connection.receive(segment);
    return true;
  }

  /** The way back to whoever sent a segment; null if there is none, and nothing can be answered. */
  pathTo(remote: IpAddress, local: IpAddress): IpPath | null {
    try {
      return this.#host.ip.path(remote, local);
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      this.#host.counters.inErrs++;
      return null;
    }
  }
}
