import type { NetErrorCode } from '../../errors.ts';
import type { Timer } from '../../time/timers.ts';
import type { TcpConfig } from '../config.ts';
import { createCongestion } from '../congestion/create.ts';
import { EcnState } from '../ecn.ts';
import type { TcpHost } from '../host.ts';
import type { ListenSocket } from '../listener.ts';
import { Receiver } from '../receiver.ts';
import { Sender } from '../sender.ts';
import type { Fields } from './record.ts';

const NEVER = Number.POSITIVE_INFINITY;
/** What ICMP may have told, by number. */
const SOFT_ERRORS: readonly (NetErrorCode | null)[] = [null, 'EHOSTUNREACH', 'ENETUNREACH'];

/**
 * What a connection has of state while it is at work, both halves and the rest.
 * While it is parked, all that matters of this is in a record, and the objects
 * serve another connection.
 */
export class WorkingState {
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly ecn = new EcnState();
  /** Where a connection that a SYN opened waits to be accepted. */
  listener: ListenSocket | null = null;
  /** Its place in the listener's crowd of such connections; -1 if it is in none. */
  place = -1;
  /** Which listener's bound on early connections counts this one (RFC 7413 §5.1). */
  fastOpenListener: ListenSocket | null = null;
  /** In `TcpHost`'s list of connections whose `output` is due; waiting for the device. */
  scheduled = false;
  stalled = false;
  /** Its number in the parking lot's queue; -1 if it is not there. */
  watched = -1;

  /** Agreed on in the SYNs. */
  scaling: boolean;
  timestamps: boolean;
  selective: boolean;
  timestampOffset = 0;
  /** SYN or SYN-ACK is to be sent at the next output. */
  synPending = false;
  synSentAt = 0;
  synRepeated = false;
  /** Server: what the SYN's Fast Open option led to. Client: `accepted` once the SYN has carried data. */
  fastOpen: 'none' | 'cookie' | 'accepted' = 'none';
  /** What ICMP told, in case nothing better comes (RFC 1122 §4.2.3.9). */
  softError: NetErrorCode | null = null;
  /** Bytes that the stack has been told are held for our reader. */
  accounted = 0;
  answeredBareAt = Number.NEGATIVE_INFINITY;
  /** What the peer's SYN announced. */
  peerMss: number;
  /** Path MTU and bytes of options that `sender.segment` was made for. */
  sizedMtu = 0;
  sizedOptions = -1;
  /** The user has closed: nobody will read. */
  detached = false;
  /** -1: close is orderly; 0: close resets. */
  lingerMs = -1;
  userTimeoutMs: number;
  /** When the oldest unacknowledged byte began to wait. */
  waitingSince = 0;
  finTimeoutAt = NEVER;
  lastReceivedAt = 0;
  /** One that nobody needs now, for the connection that is next. */
  spareTimer: Timer | null = null;

  constructor(host: TcpHost, config: TcpConfig, mss: number) {
    this.sender = new Sender(host.pool, config, createCongestion(config, mss, host.random));
    this.receiver = new Receiver(config);
    if (config.windowScaling) this.receiver.shift = Receiver.shiftFor(config.receiveBuffer);
    this.scaling = config.windowScaling;
    this.timestamps = config.timestamps;
    this.selective = config.sack;
    this.peerMss = mss;
    this.userTimeoutMs = config.userTimeoutMs;
  }

  /** Nothing is under way, at either end of either half, that time or the device is to go on with. */
  get isQuiet(): boolean {
    if (this.scheduled || this.stalled || this.detached || this.listener !== null) return false;
    if (this.fastOpenListener !== null || this.finTimeoutAt !== NEVER) return false;
    return this.receiver.isQuiet && this.sender.isQuiet;
  }

  /** When it last did anything. */
  get activeAt(): number {
    return Math.max(this.lastReceivedAt, this.sender.lastSentAt);
  }

  /** All that matters once the handshake is done and while it is quiet, for a record or from one. */
  carry(fields: Fields): void {
    const { sender, receiver } = this;
    receiver.carry(fields);
    sender.carry(fields, receiver.next);
    this.ecn.carry(fields, sender.una);
    this.scaling = fields.bit(this.scaling);
    this.timestamps = fields.bit(this.timestamps);
    this.selective = fields.bit(this.selective);
    this.timestampOffset = fields.int(this.timestampOffset);
    this.softError = SOFT_ERRORS[fields.int(SOFT_ERRORS.indexOf(this.softError))]!;
    this.answeredBareAt = fields.real(this.answeredBareAt, Number.NEGATIVE_INFINITY);
    this.peerMss = fields.int(this.peerMss, sender.segment);
    this.sizedMtu = fields.int(this.sizedMtu);
    this.sizedOptions = fields.int(this.sizedOptions);
    this.lingerMs = fields.int(this.lingerMs, -1);
    this.userTimeoutMs = fields.real(this.userTimeoutMs);
    this.waitingSince = fields.real(this.waitingSince);
    this.lastReceivedAt = fields.real(this.lastReceivedAt);
    this.synSentAt = 0;
    this.synRepeated = false;
    this.fastOpen = 'none';
  }
}
