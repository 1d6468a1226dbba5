import type { NetErrorCode } from '../../errors.ts';
import { Timer, type TimerOwner } from '../../time/timers.ts';
import type { TcpConfig } from '../config.ts';
import type { EcnState } from '../ecn.ts';
import type { TcpHost } from '../host.ts';
import type { ListenSocket } from '../listener.ts';
import type { Receiver } from '../receiver.ts';
import type { Sender } from '../sender.ts';
import * as states from '../state.ts';
import type { Parkable } from './lot.ts';
import { WorkingState } from './working.ts';

/**
 * The part of a connection that may be parked: all that it has of state, but
 * for the ends, the user, and how it stands (RFC 9293 §3.3.2). Whoever asks for
 * any of it wakes the connection; whoever can do without should.
 */
export abstract class ParkableConnection implements Parkable, TimerOwner {
  readonly host: TcpHost;
  readonly config: TcpConfig;
  state: states.State = states.CLOSED;
  #working: WorkingState | null;
  /** What the state was when the connection was parked; null while it is awake. */
  #record: string | null = null;
  /** Null while none is needed. */
  #timer: Timer | null = null;

  constructor(host: TcpHost, config: TcpConfig, mss: number) {
    this.host = host;
    this.config = config;
    this.#working = new WorkingState(host, config, mss);
  }

  abstract onTimer(): void;

  get working(): WorkingState | null {
    return this.#working;
  }

  get isParked(): boolean {
    return this.#working === null;
  }

  /** The state, of a connection that is awake from now on; once per function where packets come by. */
  get awake(): WorkingState {
    return this.#working ?? this.#wake();
  }

  get sender(): Sender {
    return (this.#working ?? this.#wake()).sender;
  }

  get receiver(): Receiver {
    return (this.#working ?? this.#wake()).receiver;
  }

  get ecn(): EcnState {
    return (this.#working ?? this.#wake()).ecn;
  }

  /** The user has closed: nobody will read. Such a connection is not parked. */
  get detached(): boolean {
    return this.#working?.detached ?? false;
  }
  set detached(value: boolean) {
    this.awake.detached = value;
  }

  get listener(): ListenSocket | null {
    return this.awake.listener;
  }
  set listener(value: ListenSocket | null) {
    this.awake.listener = value;
  }

  get fastOpenListener(): ListenSocket | null {
    return this.awake.fastOpenListener;
  }
  set fastOpenListener(value: ListenSocket | null) {
    this.awake.fastOpenListener = value;
  }

  get scheduled(): boolean {
    return this.awake.scheduled;
  }
  set scheduled(value: boolean) {
    this.awake.scheduled = value;
  }

  get stalled(): boolean {
    return this.awake.stalled;
  }
  set stalled(value: boolean) {
    this.awake.stalled = value;
  }

  get scaling(): boolean {
    return this.awake.scaling;
  }
  set scaling(value: boolean) {
    this.awake.scaling = value;
  }

  get timestamps(): boolean {
    return this.awake.timestamps;
  }
  set timestamps(value: boolean) {
    this.awake.timestamps = value;
  }

  get selective(): boolean {
    return this.awake.selective;
  }
  set selective(value: boolean) {
    this.awake.selective = value;
  }

  get timestampOffset(): number {
    return this.awake.timestampOffset;
  }
  set timestampOffset(value: number) {
    this.awake.timestampOffset = value;
  }

  get synPending(): boolean {
    return this.awake.synPending;
  }
  set synPending(value: boolean) {
    this.awake.synPending = value;
  }

  get synSentAt(): number {
    return this.awake.synSentAt;
  }
  set synSentAt(value: number) {
    this.awake.synSentAt = value;
  }

  get synRepeated(): boolean {
    return this.awake.synRepeated;
  }
  set synRepeated(value: boolean) {
    this.awake.synRepeated = value;
  }

  get fastOpen(): WorkingState['fastOpen'] {
    return this.awake.fastOpen;
  }
  set fastOpen(value: WorkingState['fastOpen']) {
    this.awake.fastOpen = value;
  }

  get softError(): NetErrorCode | null {
    return this.awake.softError;
  }
  set softError(value: NetErrorCode | null) {
    this.awake.softError = value;
  }

  get peerMss(): number {
    return this.awake.peerMss;
  }
  set peerMss(value: number) {
    this.awake.peerMss = value;
  }

  get sizedMtu(): number {
    return this.awake.sizedMtu;
  }
  set sizedMtu(value: number) {
    this.awake.sizedMtu = value;
  }

  get sizedOptions(): number {
    return this.awake.sizedOptions;
  }
  set sizedOptions(value: number) {
    this.awake.sizedOptions = value;
  }

  get lingerMs(): number {
    return this.awake.lingerMs;
  }
  set lingerMs(value: number) {
    this.awake.lingerMs = value;
  }

  get userTimeoutMs(): number {
    return this.awake.userTimeoutMs;
  }
  set userTimeoutMs(value: number) {
    this.awake.userTimeoutMs = value;
  }

  get waitingSince(): number {
    return this.awake.waitingSince;
  }
  set waitingSince(value: number) {
    this.awake.waitingSince = value;
  }

  get finTimeoutAt(): number {
    return this.awake.finTimeoutAt;
  }
  set finTimeoutAt(value: number) {
    this.awake.finTimeoutAt = value;
  }

  get lastReceivedAt(): number {
    return this.awake.lastReceivedAt;
  }
  set lastReceivedAt(value: number) {
    this.awake.lastReceivedAt = value;
  }

  /** The one timer, made for who arms it. */
  get timer(): Timer {
    return this.#timer ?? this.#takeTimer();
  }

  disarm(): void {
    this.#timer?.cancel();
  }

  #takeTimer(): Timer {
    const { awake } = this;
    const timer = awake.spareTimer ?? new Timer(this.host.timers, this);
    awake.spareTimer = null;
    timer.owner = this;
    this.#timer = timer;
    return timer;
  }

  get isQuiet(): boolean {
    const { state } = this;
    if (state !== states.ESTABLISHED && state !== states.CLOSE_WAIT && state !== states.FIN_WAIT_2)
      return false;
    return this.#working?.isQuiet ?? false;
  }

  /** Has the connection parked after a while, unless it does something until then. */
  watch(): void {
    const { awake } = this;
    if (awake.watched < 0) this.host.lot.watch(this, awake);
  }

  park(): void {
    const { lot } = this.host;
    const working = this.#working!;
    const timer = this.#timer;
    // Keep-alive is what may have it armed.
    if (timer !== null && !timer.armed) {
      timer.owner = lot;
      working.spareTimer = timer;
      this.#timer = null;
    }
    this.#record = lot.pack(working);
    this.#working = null;
    lot.parked++;
    lot.give(this.config, working);
  }

  #wake(): WorkingState {
    const working = this.#unpack();
    this.#working = working;
    this.#record = null;
    this.host.lot.parked--;
    // Whoever woke it may leave it at that.
    this.watch();
    return working;
  }

  #unpack(): WorkingState {
    const { lot } = this.host;
    const working = lot.take(this.config) ?? new WorkingState(this.host, this.config, 0);
    lot.unpack(this.#record!, working);
    return working;
  }

  /** What `look` sees of the connection, which stays parked if it is. */
  protected glance<T>(look: () => T): T {
    if (this.#working !== null) return look();
    const working = this.#unpack();
    this.#working = working;
    try {
      return look();
    } finally {
      this.#working = null;
      this.host.lot.give(this.config, working);
    }
  }
}
