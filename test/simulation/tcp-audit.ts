import { ACK, FIN, RST, SYN, type TcpSegment } from './packet.ts';
import { Ranges } from './ranges.ts';

/** RFC 9293 §3.7.1: what a peer that announces nothing takes. */
const DEFAULT_MSS = 536;
const MOST_REPETITIONS = 100;

/** What the auditor knows of the host whose segments it judges. */
export interface AuditedHost {
  readonly mtu: number;
  readonly receiveBuffer: number;
  /** An old ACK with a good cookie may bring a connection back that has ended. */
  readonly cookies: boolean;
  /** Whether it has dropped packets that waited for a neighbour: they are sent as far as TCP knows, and nobody sees them. */
  hasDropped(): boolean;
}

type Report = (problem: string) => void;

/**
 * One host's side of one four-tuple, seen from the wire: what it has sent, and
 * what was delivered to it intact. Every segment that it sends is held against
 * both. Numbers are distances from the initial sequence numbers.
 */
export class TcpAudit {
  readonly #host: AuditedHost;
  /** The latest SYNs that came, for when one is answered. */
  readonly #offers: TcpSegment[] = [];
  #life: Life | null = null;

  constructor(host: AuditedHost) {
    this.#host = host;
  }

  /** The host sends `segment`. */
  sent(segment: TcpSegment, report: Report): void {
    const { flags } = segment;
    if ((flags & SYN) !== 0) {
      this.#sentSyn(segment, report);
      return;
    }
    if (this.#life === null) {
      // Only a refusal comes from where there is no connection.
      if ((flags & RST) === 0) report('a segment before any SYN');
      return;
    }
    this.#life.sent(segment, report);
  }

  /** An intact segment is handed to the host. */
  delivered(segment: TcpSegment): void {
    if ((segment.flags & SYN) !== 0) {
      this.#offers.push(segment);
      if (this.#offers.length > 8) this.#offers.shift();
      this.#life?.deliveredSyn(segment);
      return;
    }
    this.#life?.delivered(segment);
  }

  #sentSyn(segment: TcpSegment, report: Report): void {
    const { flags } = segment;
    if ((flags & (FIN | RST)) !== 0) report('SYN together with FIN or RST');
    if (segment.end > segment.start) report('data in a SYN');
    if (segment.mss < 0) report('a SYN without MSS');
    // Of IP and TCP, without options.
    const headers = segment.packetLength - (segment.end - segment.start) - segment.optionBytes;
    if (segment.mss > this.#host.mtu - headers) report(`MSS ${segment.mss} at an MTU of ${this.#host.mtu}`);
    if (this.#life === null || this.#life.initial !== segment.sequence) {
      this.#life = new Life(this.#host, segment);
    }
    const life = this.#life;
    if (segment.mss !== life.ownSyn.mss) report('another MSS in a repeated SYN');
    if ((flags & ACK) === 0) return;
    const offer = this.#offers.findLast((syn) => ((syn.sequence + 1) | 0) === segment.acknowledgment);
    if (offer === undefined) {
      report('a SYN-ACK for a SYN that never came');
      return;
    }
    if (segment.scale >= 0 && offer.scale < 0) report('window scaling that was not offered');
    if (segment.sackPermitted && !offer.sackPermitted) report('SACK that was not offered');
    if (segment.stamp !== null && offer.stamp === null) report('timestamps that were not offered');
    life.answers(offer, segment);
    // The field of a SYN cannot tell what a scaled one may have told already: only the first is news.
    if (!life.hasOffered) life.sentWindow(1, segment.window, report);
  }
}

/** One incarnation of a connection. */
class Life {
  readonly initial: number;
  ownSyn: TcpSegment;
  readonly #host: AuditedHost;
  #peerSyn: TcpSegment | null = null;

  /** One past the highest number sent. */
  #sentTo = 1;
  #finAt = -1;
  /** What was sent, by number; up to `#payloadTo`. */
  #payload = new Uint8Array(4096);
  #payloadTo = 1;
  #reset = false;
  /** Brought back by a cookie: nothing more is checked. */
  #afterlife = false;
  /** Right edge that the peer has granted. */
  #granted = 0;

  readonly #received = new Ranges();
  #receivedTo = 1;
  #peerFinAt = -1;
  #acknowledged = 0;
  /** Right edge that we have granted. */
  #offered = 0;

  /** The latest bare ACK, and how much more often it went out again than something came that asks for an answer. */
  #latestBare = '';
  #repetitions = 0;

  #ownScale = 0;
  #peerScale = 0;
  #stamps = false;
  #selective = false;
  #latestStamp: number | null = null;
  #latestPeerStamp: number | null = null;

  constructor(host: AuditedHost, syn: TcpSegment) {
    this.#host = host;
    this.initial = syn.sequence;
    this.ownSyn = syn;
    this.#latestStamp = syn.stamp;
  }

  get hasOffered(): boolean {
    return this.#offered > 0;
  }

  /** Our SYN-ACK answers `offer`. */
  answers(offer: TcpSegment, own: TcpSegment): void {
    this.ownSyn = own;
    if (this.#peerSyn?.sequence !== offer.sequence) this.#agree(offer);
  }

  deliveredSyn(syn: TcpSegment): void {
    if (this.#peerSyn !== null) {
      if (syn.sequence !== this.#peerSyn.sequence) return;
      if ((syn.flags & ACK) !== 0) this.#grant(syn, 0);
      this.#noteStamp(syn);
      return;
    }
    const acknowledges = (syn.flags & ACK) !== 0;
    if (acknowledges && syn.acknowledgment !== ((this.initial + 1) | 0)) return;
    this.#agree(syn);
  }

  #agree(syn: TcpSegment): void {
    this.#peerSyn = syn;
    const own = this.ownSyn;
    const scaling = own.scale >= 0 && syn.scale >= 0;
    this.#ownScale = scaling ? Math.min(own.scale, 14) : 0;
    this.#peerScale = scaling ? Math.min(syn.scale, 14) : 0;
    this.#stamps = own.stamp !== null && syn.stamp !== null;
    this.#selective = own.sackPermitted && syn.sackPermitted;
    this.#latestPeerStamp = syn.stamp;
    this.#granted = Math.max(this.#granted, 1 + syn.window);
  }

  #grant(segment: TcpSegment, scale: number): void {
    const ack = (segment.acknowledgment - this.initial) | 0;
    if (ack < 0 || ack > this.#sentTo) return;
    this.#granted = Math.max(this.#granted, ack + segment.window * 2 ** scale);
  }

  delivered(segment: TcpSegment): void {
    const peerSyn = this.#peerSyn;
    if (peerSyn === null || (segment.flags & RST) !== 0) return;
    const left = (segment.sequence - peerSyn.sequence) | 0;
    const right = left + segment.end - segment.start;
    // Far from anything offered: an old incarnation's.
    if (left < -0x100000 || right > this.#offered + 0x100000) return;
    if ((segment.flags & ACK) !== 0) this.#grant(segment, this.#peerScale);
    this.#noteStamp(segment);
    const fin = (segment.flags & FIN) !== 0;
    // Only an ordinary ACK in sequence calls for nothing in return.
    if (fin || right > left || left !== this.#receivedTo || segment.window === 0) this.#repetitions--;
    if (fin) this.#peerFinAt = right;
    this.#received.add(Math.max(left, 1), right + (fin ? 1 : 0));
    this.#receivedTo = this.#received.reachedFrom(this.#receivedTo);
  }

  #noteStamp({ stamp }: TcpSegment): void {
    if (stamp === null || this.#latestPeerStamp === null) return;
    if (((stamp - this.#latestPeerStamp) | 0) > 0) this.#latestPeerStamp = stamp;
  }

  sent(segment: TcpSegment, report: Report): void {
    const { flags } = segment;
    if ((flags & RST) !== 0) {
      // A refusal takes its number from what it refuses; one of a connection is within what was sent.
      if ((flags & ACK) !== 0 && this.#peerSyn !== null) {
        const at = (segment.sequence - this.initial) | 0;
        if (segment.sequence !== 0 && at !== 0 && (at < 0 || at > this.#sentTo)) {
          report(`a reset at ${at}, sent were ${this.#sentTo}`);
        }
      }
      // That of a refused SYN begins at 0 and is not this connection's.
      if ((flags & ACK) !== 0 && segment.sequence !== 0) this.#reset = true;
      return;
    }
    if (this.#host.cookies && this.#risesAgain(segment)) this.#afterlife = true;
    if (this.#afterlife) return;
    if (this.#reset) report('a segment after the reset');
    if ((flags & ACK) === 0) report('neither SYN, RST nor ACK');
    if (this.#peerSyn === null) {
      report('a segment although no SYN was received');
      return;
    }
    this.#checkOptions(segment, report);
    this.#checkSize(segment, report);
    this.#checkNumbers(segment, report);
    this.#checkAcknowledgment(segment, this.#peerSyn, report);
    this.#checkCause(segment, report);
  }

  /** Two ends that acknowledge each other's ACKs never stop. Duplicates that are owed, and keep-alive probes, do. */
  #checkCause(segment: TcpSegment, report: Report): void {
    if (segment.end > segment.start || (segment.flags & FIN) !== 0) return;
    const bare = `${segment.sequence} ${segment.acknowledgment} ${segment.window} ${segment.sack.join()}`;
    this.#repetitions = bare === this.#latestBare ? this.#repetitions + 1 : Math.min(this.#repetitions, 0);
    if (this.#repetitions > MOST_REPETITIONS)
      report('the same ACK again and again, though nothing called for it');
    this.#latestBare = bare;
  }

  /** A cookie knows the first numbers only: the connection begins once more with them. */
  #risesAgain(segment: TcpSegment): boolean {
    if (this.#reset || this.#peerSyn === null) return true;
    return ((segment.acknowledgment - this.#peerSyn.sequence) | 0) < this.#acknowledged;
  }

  #checkOptions(segment: TcpSegment, report: Report): void {
    if (segment.mss >= 0 || segment.scale >= 0 || segment.sackPermitted) {
      report('an option of SYNs in another segment');
    }
    if (this.#stamps) {
      if (segment.stamp === null) {
        report('no timestamps, which were agreed on (RFC 7323 §3.2)');
        return;
      }
      if (this.#latestStamp !== null && ((segment.stamp - this.#latestStamp) | 0) < 0) {
        report(`timestamps go back by ${(this.#latestStamp - segment.stamp) | 0}`);
      }
      this.#latestStamp = segment.stamp;
      if (this.#latestPeerStamp !== null && ((segment.echo - this.#latestPeerStamp) | 0) > 0) {
        report('an echo of a timestamp that never came');
      }
    } else if (segment.stamp !== null) {
      report('timestamps that were not agreed on');
    }
    if (segment.sack.length > 0 && !this.#selective) report('SACK blocks that were not agreed on');
  }

  #checkSize(segment: TcpSegment, report: Report): void {
    const length = segment.end - segment.start;
    const each = segment.segmentSize > 0 ? Math.min(segment.segmentSize, length) : length;
    const peerMss = this.#peerSyn!.mss < 0 ? DEFAULT_MSS : this.#peerSyn!.mss;
    if (each + segment.optionBytes > peerMss) {
      report(`${each} bytes and ${segment.optionBytes} of options exceed the MSS of ${peerMss}`);
    }
    if (each + segment.packetLength - length > this.#host.mtu) {
      report(`a packet of ${each + segment.packetLength - length} exceeds the MTU of ${this.#host.mtu}`);
    }
  }

  #checkNumbers(segment: TcpSegment, report: Report): void {
    const length = segment.end - segment.start;
    const left = (segment.sequence - this.initial) | 0;
    const fin = (segment.flags & FIN) !== 0;
    const right = left + length + (fin ? 1 : 0);
    if (left < 0 || (left > this.#sentTo && !this.#host.hasDropped())) {
      report(`starts at ${left}, sent were ${this.#sentTo}`);
    }
    if (right > left) {
      const probe = right - left === 1 && right <= this.#granted + 1;
      if (right > this.#granted && !probe) {
        report(`sends up to ${right}, granted are ${this.#granted}`);
      }
    }
    if (this.#finAt >= 0 && right > this.#finAt + 1)
      report(`sends up to ${right} after FIN at ${this.#finAt}`);
    if (fin) {
      if (this.#finAt >= 0 && this.#finAt !== right - 1)
        report(`FIN at ${right - 1}, before at ${this.#finAt}`);
      if (this.#finAt < 0 && right < this.#sentTo) report(`FIN at ${right - 1}, sent were ${this.#sentTo}`);
      this.#finAt = right - 1;
    }
    this.#checkPayload(segment, left, report);
    if (right > this.#sentTo) this.#sentTo = right;
  }

  /** What is sent again must be what was sent before (RFC 9293 §3.10.7.4 relies on it). */
  #checkPayload(segment: TcpSegment, left: number, report: Report): void {
    const length = segment.end - segment.start;
    // Behind what nobody saw.
    if (left > this.#payloadTo) return;
    if (left + length > this.#payload.length) {
      const wider = new Uint8Array(Math.max(2 * this.#payload.length, left + length));
      wider.set(this.#payload);
      this.#payload = wider;
    }
    const payload = this.#payload;
    const known = Math.max(0, Math.min(length, this.#payloadTo - left));
    for (let i = 0; i < known; i++) {
      if (payload[left + i] !== segment.bytes[segment.start + i]) {
        report(`byte ${left + i} is not what it was when it was first sent`);
        break;
      }
    }
    payload.set(segment.bytes.subarray(segment.start, segment.end), left);
    this.#payloadTo = Math.max(this.#payloadTo, left + length);
  }

  #checkAcknowledgment(segment: TcpSegment, peerSyn: TcpSegment, report: Report): void {
    const ack = (segment.acknowledgment - peerSyn.sequence) | 0;
    if (ack < 1 || ack > this.#receivedTo) report(`acknowledges ${ack}, received were ${this.#receivedTo}`);
    if (ack < this.#acknowledged) report(`acknowledges ${ack} after ${this.#acknowledged}`);
    this.#acknowledged = ack;
    const finTaken = this.#peerFinAt >= 0 && ack > this.#peerFinAt;
    // After FIN there is nothing that a window would be for.
    if (!finTaken) this.sentWindow(ack, segment.window * 2 ** this.#ownScale, report);
    this.#checkSack(segment, peerSyn, ack, report);
  }

  /** A window that the host tells: its right edge never moves left, and it fits the buffer. */
  sentWindow(ack: number, window: number, report: Report): void {
    const granule = 2 ** this.#ownScale;
    if (window > Math.max(this.#host.receiveBuffer, 1) + granule - 1) {
      report(`a window of ${window} with a buffer of ${this.#host.receiveBuffer}`);
    }
    // RFC 7323 §2.4: up to what the scaled field cannot tell.
    if (ack + window <= this.#offered - granule) {
      report(`the window shrinks from ${this.#offered} to ${ack + window}`);
    }
    this.#offered = Math.max(this.#offered, ack + window);
  }

  #checkSack(segment: TcpSegment, peerSyn: TcpSegment, ack: number, report: Report): void {
    const { sack } = segment;
    if (sack.length === 0) return;
    const blocks: { left: number; right: number }[] = [];
    for (let i = 0; i < sack.length; i += 2) {
      const left = (sack[i]! - peerSyn.sequence) | 0;
      const right = (sack[i + 1]! - peerSyn.sequence) | 0;
      blocks.push({ left, right });
    }
    for (const [i, { left, right }] of blocks.entries()) {
      const text = `SACK block ${i} of ${left}..${right}`;
      if (left >= right) report(`${text} is empty`);
      if (!this.#received.covers(left, right)) report(`${text} was not received`);
      const second = blocks[1];
      const within = second !== undefined && left >= second.left && right <= second.right;
      if (i === 0 && (right <= ack || within)) continue;
      if (left <= ack) report(`${text} is not above the acknowledgment ${ack}`);
      for (const other of blocks.slice(i + 1)) {
        if (left < other.right && other.left < right)
          report(`${text} overlaps ${other.left}..${other.right}`);
      }
    }
  }
}
