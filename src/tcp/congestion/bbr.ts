/**
 * BBR, version 3 (draft-ietf-ccwg-bbr-06): sends at the rate at which the network
 * was measured to deliver, with about as much in flight as that rate and the
 * path's delay call for, and probes now and then for more of the one and less of
 * the other. What of the path is known is in `bbr-model.ts`; here are the states,
 * and rate, quantum and window that follow from them. Bytes, ms, bytes per ms.
 */
import type { Random } from '../../time/random.ts';
import { type LostPacket, RateEstimator, type RateListener, type RateSample } from '../recovery/rate.ts';
import { AckAggregation } from './bbr-aggregation.ts';
import { PACING_MARGIN, PathModel } from './bbr-model.ts';
import { isInflightTooHigh, ProbeBw, type ProbeBwFlow } from './bbr-probe-bw.ts';
import { MinRtt } from './bbr-rtt.ts';
import { FullBandwidth, StartupLoss } from './bbr-startup.ts';
import { type BbrState, GAINS, isProbeBw, isProbing } from './bbr-state.ts';
import type { AckSample, Congestion } from './congestion.ts';

/** BBR.MinPipeCwnd (§2.8), in segments. */
const MIN_PIPE_SEGMENTS = 4;
/** §5.3.2: rounds after which Drain ends whatever is in flight. */
const MOST_DRAIN_ROUNDS = 3;
/** BBR.ProbeRTTDuration (§2.16.2). */
const PROBE_RTT_MS = 200;
/** §5.6.3. */
const MOST_QUANTUM = 64 << 10;
const LEAST_QUANTUM_SEGMENTS = 2;
/** §5.5.8.1. */
const OFFLOAD_QUANTA = 3;
const UNLIMITED = Number.POSITIVE_INFINITY;

export class Bbr implements Congestion, RateListener, ProbeBwFlow {
  readonly name = 'bbr';
  readonly controlsRecovery = true;
  /** What it knows of the path is more than a record holds: its connections stay awake. */
  readonly parkable = null;
  window: number;
  /** BBR has no ssthresh. */
  readonly threshold = UNLIMITED;
  segment: number;
  pacingRate: number;
  sendQuantum: number;
  readonly rate = new RateEstimator(this);

  state: BbrState = 'startup';
  readonly model = new PathModel(this.rate);
  readonly fullBw = new FullBandwidth();
  readonly #startupLoss = new StartupLoss();
  readonly #minRtt = new MinRtt();
  readonly #aggregation = new AckAggregation();
  readonly #probeBw: ProbeBw;
  readonly #initialSegments: number;
  #hasRtt = false;
  #drainStartRound = 0;
  /** When ProbeRTT has lasted long enough; 0 until little enough is in flight. */
  #probeRttDoneStamp = 0;
  #probeRttRoundDone = false;
  #idleRestart = false;
  /** C.is_cwnd_limited, of the present round and of the one before. */
  #limitedThisRound = false;
  #limitedLastRound = false;
  /** InLossRecovery. */
  #inRecovery = false;
  /** BBR.prior_cwnd: the last known good window. */
  #priorCwnd = 0;
  pipeAck = Number.POSITIVE_INFINITY;
  /** The state was saved for the recovery that is on, or about to begin. */
  #isSaved = false;
  /** BBR.undo_state: what losses made us leave. */
  #undoState: 'startup' | 'probe-bw-up' | null = null;
  #now = 0;

  constructor(segment: number, initialWindow: number, random: Random) {
    this.segment = segment;
    this.window = initialWindow;
    this.#initialSegments = initialWindow / segment;
    this.#probeBw = new ProbeBw(this, random);
    this.sendQuantum = LEAST_QUANTUM_SEGMENTS * segment;
    // InitPacingRate (§5.6.2), while no round trip was measured.
    this.pacingRate = GAINS.startup.pacing * initialWindow;
  }

  /** BBR.min_rtt. */
  get minRttMs(): number {
    return this.#minRtt.minRttMs;
  }

  get minPipeCwnd(): number {
    return MIN_PIPE_SEGMENTS * this.segment;
  }

  get isCwndLimited(): boolean {
    return this.#limitedThisRound || this.#limitedLastRound;
  }

  get #initialCwnd(): number {
    return this.#initialSegments * this.segment;
  }

  enter(state: BbrState): void {
    this.state = state;
  }

  // ---------------------------------------------------------------- per ACK

  /** UpdateOnACK (§5.2.3). */
  onAck(sample: AckSample): void {
    this.#now = sample.now;
    if (!this.#hasRtt && sample.smoothedRttMs > 0) {
      this.#hasRtt = true;
      this.pacingRate = (GAINS.startup.pacing * this.#initialCwnd) / sample.smoothedRttMs;
    }
    const rs = this.rate.generate(sample.minimumRttMs);
    this.#updateModelAndState(rs, sample);
    this.#setPacingRate(GAINS[this.state].pacing);
    this.#setSendQuantum();
    this.#setCwnd(sample.bytes);
  }

  #updateModelAndState(rs: RateSample, sample: AckSample): void {
    const { model } = this;
    const { now, bytes, inFlight } = sample;
    model.updateLatestDeliverySignals(rs);
    model.updateMaxBw(rs);
    model.adaptLowerBounds(rs, isProbing(this.state), this.window);
    this.#noteCwndLimited(rs);
    const { fullBw } = this;
    this.#aggregation.update(bytes, model.bw, this.window, model.roundCount, fullBw.reached, now);
    if (model.roundStart) fullBw.check(rs);
    this.#checkStartupDone(rs);
    this.#checkDrainDone(inFlight);
    this.#probeBw.coexistence.onRtt(sample.rttMs, model.roundStart, now);
    this.#probeBw.update(rs, bytes, inFlight, this.rate.hasSelectiveAcks, now);
    this.#minRtt.update(sample.rttMs, now);
    this.#checkProbeRtt(rs, inFlight);
    model.advanceLatestDeliverySignals(rs);
    model.boundBw();
    if (model.lossRoundStart && !this.#inRecovery) this.#isSaved = false;
  }

  #noteCwndLimited(rs: RateSample): void {
    if (this.model.roundStart) {
      this.#limitedLastRound = this.#limitedThisRound;
      this.#limitedThisRound = false;
    }
    this.#limitedThisRound ||= rs.isCwndLimited;
  }

  // ---------------------------------------------------------------- Startup and Drain

  /** CheckStartupDone, CheckStartupHighLoss (§5.3.1). */
  #checkStartupDone(rs: RateSample): void {
    if (this.state !== 'startup') return;
    const { model, rate, fullBw } = this;
    if (model.lossRoundStart) {
      const isHigh = this.#startupLoss.isHigh(rate.hasSelectiveAcks);
      const isTooHigh = isInflightTooHigh(rs.lost, rs.txInFlight, rate.hasSelectiveAcks);
      if (isHigh && isTooHigh && this.#inRecovery) this.#limitStartup();
    }
    if (!fullBw.reached) return;
    this.enter('drain');
    this.#drainStartRound = model.roundCount;
  }

  /** Losses or marks tell that Startup has filled the queue. */
  #limitStartup(): void {
    const { model } = this;
    this.#undoState = 'startup';
    this.fullBw.reached = true;
    model.inflightLongterm = Math.max(this.#bdpMultiple(1), model.inflightLatest);
  }

  /** CheckDrainDone (§5.3.2). */
  #checkDrainDone(inFlight: number): void {
    if (this.state !== 'drain') return;
    const isLong = this.model.roundCount > this.#drainStartRound + MOST_DRAIN_ROUNDS;
    if (inFlight <= this.#inflight(1, this.model.bw) || isLong) this.#probeBw.startDown(this.#now);
  }

  // ---------------------------------------------------------------- ProbeRTT

  /** CheckProbeRTT (§5.3.4.3). */
  #checkProbeRtt(rs: RateSample, inFlight: number): void {
    if (this.state !== 'probe-rtt' && this.#minRtt.isProbeDue && !this.#idleRestart) {
      this.#saveCwnd();
      this.enter('probe-rtt');
      this.#probeRttDoneStamp = 0;
      this.#probeBw.stopFeedback();
    }
    if (this.state === 'probe-rtt') this.#handleProbeRtt(inFlight);
    if (rs.delivered > 0) this.#idleRestart = false;
  }

  #handleProbeRtt(inFlight: number): void {
    const { model } = this;
    // The low rate of this state is our choice.
    this.rate.markAppLimited(inFlight);
    if (this.#probeRttDoneStamp === 0) {
      if (inFlight > this.#probeRttCwnd) return;
      this.#probeRttDoneStamp = this.#now + PROBE_RTT_MS;
      this.#probeRttRoundDone = false;
      model.startRound();
      return;
    }
    if (model.roundStart) this.#probeRttRoundDone = true;
    if (this.#probeRttRoundDone) this.#checkProbeRttDone(this.#now);
  }

  /** CheckProbeRTTDone, ExitProbeRTT (§5.3.4.4). */
  #checkProbeRttDone(now: number): void {
    if (this.#probeRttDoneStamp === 0 || now <= this.#probeRttDoneStamp) return;
    this.#minRtt.onProbed(now);
    this.#restoreCwnd();
    this.model.onProbeRttEnd();
    if (this.fullBw.reached) {
      this.#probeBw.startDown(now);
      this.enter('probe-bw-cruise');
    } else {
      this.enter('startup');
    }
  }

  get #probeRttCwnd(): number {
    return Math.max(this.#bdpMultiple(GAINS['probe-rtt'].cwnd), this.minPipeCwnd);
  }

  // ---------------------------------------------------------------- idle

  /** HandleRestartFromIdle (§5.4.1). */
  onRestartFromIdle(now: number): void {
    this.#now = now;
    this.#idleRestart = true;
    this.#aggregation.restart(now);
    if (isProbeBw(this.state)) this.#setPacingRate(1);
    else if (this.state === 'probe-rtt') this.#checkProbeRttDone(now);
  }

  /** Idleness does not make the model wrong (§5.4.2). */
  onIdle(): void {}

  /** Its rate is measured, and its window follows from that. */
  onUnused(): void {}

  // ---------------------------------------------------------------- losses and marks

  /** HandleLostPacket (§5.5.10.2). */
  onPacketLost(packet: LostPacket): void {
    this.#noteLoss();
    if (packet.startsRange) this.#startupLoss.onRangeLost();
    const { hasSelectiveAcks } = this.rate;
    if (this.#probeBw.onPacketLost(packet, hasSelectiveAcks, this.#now)) this.#undoState = 'probe-bw-up';
  }

  /** NoteLoss (§5.5.10.2); the state is saved once, before the first response to a recovery's losses. */
  #noteLoss(): void {
    if (!this.#isSaved) this.save();
    this.#probeBw.coexistence.onLoss();
    this.model.noteLoss();
  }

  /** OnEnterFastRecovery (§5.6.4.4). */
  onLoss(): void {
    this.#noteLoss();
    this.#inRecovery = true;
  }

  /** OnEnterRTO (§5.6.4.4). */
  onTimeout(): void {
    this.#saveCwnd();
    this.#inRecovery = true;
    this.window = this.segment;
  }

  onRecoveryEnd(): void {
    this.#inRecovery = false;
    this.#isSaved = false;
    this.#restoreCwnd();
  }

  /** §3.7: a mark is congestion, and the draft leaves open how much: here it is a round with losses above the threshold. */
  onCongestionMark(inFlight: number, now: number): void {
    this.#now = now;
    this.#noteLoss();
    if (this.state === 'startup') this.#limitStartup();
    else if (this.#probeBw.onMark(inFlight, this.rate.appLimited > 0, now)) this.#undoState = 'probe-bw-up';
  }

  /** SaveStateUponLoss (§5.5.11.1), unless the losses that led here have done so. */
  save(): void {
    this.#saveCwnd();
    if (this.#isSaved) return;
    this.#isSaved = true;
    this.#undoState = null;
    this.model.save();
  }

  /** HandleSpuriousLossDetection (§5.5.11.2). */
  undo(): void {
    this.onRecoveryEnd();
    this.model.undo();
    this.fullBw.reset();
    const undo = this.#undoState;
    this.#undoState = null;
    if (undo === null || this.state === undo) return;
    if (undo === 'startup') this.fullBw.reached = false;
    if (this.state === 'probe-rtt') return;
    if (undo === 'startup') this.enter('startup');
    else this.#probeBw.startRefill();
  }

  /** SaveCwnd, RestoreCwnd (§5.6.4.4). */
  #saveCwnd(): void {
    const isModulated = this.#inRecovery || this.state === 'probe-rtt';
    this.#priorCwnd = isModulated ? Math.max(this.#priorCwnd, this.window) : this.window;
  }

  #restoreCwnd(): void {
    this.window = Math.max(this.window, this.#priorCwnd);
  }

  // ---------------------------------------------------------------- control

  /** SetPacingRateWithGain (§5.6.2). */
  #setPacingRate(gain: number): void {
    const rate = gain * this.model.bw * PACING_MARGIN;
    if (rate > 0 && (this.fullBw.reached || rate > this.pacingRate)) this.pacingRate = rate;
  }

  /** SetSendQuantum (§5.6.3). */
  #setSendQuantum(): void {
    const quantum = Math.min(Math.floor(this.pacingRate), MOST_QUANTUM);
    this.sendQuantum = Math.max(quantum, LEAST_QUANTUM_SEGMENTS * this.segment);
  }

  /** BDPMultiple (§5.6.4.2). */
  #bdpMultiple(gain: number, bw = this.model.bw): number {
    const { minRttMs } = this.#minRtt;
    return minRttMs === UNLIMITED ? this.#initialCwnd : gain * bw * minRttMs;
  }

  /** QuantizationBudget (§5.6.4.2). */
  #quantized(inflightCap: number): number {
    const cap = Math.max(inflightCap, OFFLOAD_QUANTA * this.sendQuantum, this.minPipeCwnd);
    return this.state === 'probe-bw-up' ? cap + 2 * this.segment : cap;
  }

  #inflight(gain: number, bw: number): number {
    return this.#quantized(this.#bdpMultiple(gain, bw));
  }

  get maxBwInflight(): number {
    return this.#inflight(1, this.model.maxBw);
  }

  get targetInflight(): number {
    return Math.min(this.#bdpMultiple(1), this.window);
  }

  /** SetCwnd (§5.6.4.6) with BoundCwndForProbeRTT and BoundCwndForModel. */
  #setCwnd(newlyAcked: number): void {
    let wanted = this.#bdpMultiple(GAINS[this.state].cwnd) + this.#aggregation.extraAcked;
    if (isProbeBw(this.state)) {
      wanted = Math.min(wanted, this.#probeBw.coexistence.share(this.model.bw, this.segment, this.#now));
    }
    const maxInflight = this.#quantized(wanted);
    let cwnd = this.window;
    if (this.fullBw.reached) cwnd = Math.min(cwnd + newlyAcked, maxInflight);
    else if (cwnd < maxInflight || this.rate.delivered < this.#initialCwnd) cwnd += newlyAcked;
    cwnd = Math.max(cwnd, this.minPipeCwnd);
    if (this.state === 'probe-rtt') cwnd = Math.min(cwnd, this.#probeRttCwnd);
    this.window = Math.min(cwnd, this.#modelCap);
  }

  /** BoundCwndForModel (§5.6.4.7). */
  get #modelCap(): number {
    const { state, model } = this;
    let cap = UNLIMITED;
    if (state === 'probe-rtt' || state === 'probe-bw-cruise') cap = this.#probeBw.inflightWithHeadroom;
    else if (isProbeBw(state)) cap = model.inflightLongterm;
    return Math.max(Math.min(cap, model.inflightShortterm), this.minPipeCwnd);
  }
}
