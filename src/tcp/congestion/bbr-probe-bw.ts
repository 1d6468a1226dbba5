import { type Random, randomBelow, randomFraction } from '../../time/random.ts';
import type { LostPacket, RateSample } from '../recovery/rate.ts';
import { Coexistence } from './bbr-coexistence.ts';
import { BETA, type PathModel } from './bbr-model.ts';
import type { FullBandwidth } from './bbr-startup.ts';
import { type BbrState, isProbeBw } from './bbr-state.ts';

const UNLIMITED = Number.POSITIVE_INFINITY;
/** BBR.LossThresh, BBR.Headroom (draft-ietf-ccwg-bbr §2.8). */
const LOSS_THRESHOLD = 0.02;
const HEADROOM = 0.15;
/** §5.3.3.8.3: the wall clock bound of the wait, and how much of it is random; the bound in round trips. */
const WAIT_MS = 2000;
const RANDOM_WAIT_MS = 1000;
const MOST_RENO_ROUNDS = 63;
const MOST_PROBE_UP_ROUNDS = 30;

/** BBR.ack_phase (§2.14): what the ACKs that come now tell of the probe. */
type AckPhase = 'init' | 'refilling' | 'probe-starting' | 'probe-feedback' | 'probe-stopping';

/** What the cycle needs of the flow that it steers. */
export interface ProbeBwFlow {
  readonly state: BbrState;
  readonly model: PathModel;
  readonly fullBw: FullBandwidth;
  /** C.cwnd, C.SMSS, BBR.MinPipeCwnd. */
  readonly window: number;
  readonly segment: number;
  readonly minPipeCwnd: number;
  readonly isCwndLimited: boolean;
  /** TargetInflight (§5.3.3.8.3). */
  readonly targetInflight: number;
  /** Inflight(BBR.max_bw, 1.0). */
  readonly maxBwInflight: number;
  /** BBR.min_rtt. */
  readonly minRttMs: number;
  enter(state: BbrState): void;
}

/** IsInflightTooHigh (§5.5.10.2). */
export function isInflightTooHigh(lost: number, txInFlight: number, hasSelectiveAcks: boolean): boolean {
  return lost > txInFlight * LOSS_THRESHOLD || (lost > 0 && !hasSelectiveAcks);
}

/**
 * The cycle of ProbeBW (§5.3.3): slow down, cruise, refill the pipe, probe for
 * more; and BBR.inflight_longterm, which the probes find out.
 */
export class ProbeBw {
  /** BBR.prev_probe_too_high, BBR.prev_probe_precautionary (§5.3.3.6). */
  #wasTooHigh = false;
  #wasPrecautionary = false;
  /** BBR.is_bw_probe_sample: what is delivered or lost now was sent to probe. */
  #isProbeSample = false;
  #ackPhase: AckPhase = 'init';
  /** BBR.bw_probe_up_acked, BBR.probe_up_acked_per_inc, BBR.bw_probe_up_rounds. */
  #upAcked = 0;
  #upAckedPerIncrease = UNLIMITED;
  #upRounds = 0;
  /** BBR.rounds_since_probe_up, BBR.bw_probe_wait, BBR.cycle_stamp. */
  #roundsSinceUp = 0;
  #waitMs = 0;
  #cycleStamp = 0;
  readonly coexistence = new Coexistence();
  readonly #flow: ProbeBwFlow;
  readonly #random: Random;

  constructor(flow: ProbeBwFlow, random: Random) {
    this.#flow = flow;
    this.#random = random;
  }

  /** UpdateProbeBWCyclePhase (§5.3.3.9), on each ACK once the pipe was full. */
  update(rs: RateSample, newlyAcked: number, inFlight: number, hasSelectiveAcks: boolean, now: number): void {
    const flow = this.#flow;
    const { model } = flow;
    if (model.roundStart) this.#roundsSinceUp++;
    if (!flow.fullBw.reached) return;
    if (this.#adaptLongTermModel(rs, newlyAcked, hasSelectiveAcks)) return;
    switch (flow.state) {
      case 'probe-bw-down':
        if (this.#isTimeToProbe(now)) this.#probe(now);
        else if (this.#isTimeToCruise(inFlight)) flow.enter('probe-bw-cruise');
        break;
      case 'probe-bw-cruise':
        if (this.#isTimeToProbe(now)) this.#probe(now);
        break;
      case 'probe-bw-refill':
        if (model.roundStart) {
          this.#isProbeSample = true;
          this.#startUp(rs);
        }
        break;
      case 'probe-bw-up':
        if (this.#isTimeToGoDown(rs, inFlight + newlyAcked)) {
          this.#wasTooHigh = false;
          this.startDown(now);
        }
        break;
      default:
    }
  }

  /** StartProbeBW_DOWN. */
  startDown(now: number): void {
    const flow = this.#flow;
    flow.model.resetCongestionSignals();
    this.#upAckedPerIncrease = UNLIMITED;
    // PickProbeWait (§5.3.3.8.3).
    this.#roundsSinceUp = randomBelow(this.#random, 2);
    this.#waitMs = WAIT_MS + randomFraction(this.#random) * RANDOM_WAIT_MS;
    this.#cycleStamp = now;
    this.stopFeedback();
    flow.enter('probe-bw-down');
  }

  /** What is delivered after this round was not sent to probe. */
  stopFeedback(): void {
    this.#ackPhase = 'probe-stopping';
    this.#flow.model.startRound();
  }

  #probe(now: number): void {
    this.coexistence.onProbe(this.#flow.minRttMs, now);
    this.startRefill();
  }

  /** StartProbeBW_REFILL. */
  startRefill(): void {
    const flow = this.#flow;
    flow.model.resetShortTermModel();
    this.#upRounds = 0;
    this.#upAcked = 0;
    this.#wasPrecautionary = false;
    this.#ackPhase = 'refilling';
    flow.model.startRound();
    flow.enter('probe-bw-refill');
  }

  /** StartProbeBW_UP. */
  #startUp(rs: RateSample): void {
    const flow = this.#flow;
    this.#ackPhase = 'probe-starting';
    flow.model.startRound();
    flow.fullBw.reset(rs.deliveryRate);
    flow.enter('probe-bw-up');
    this.#raiseSlope();
  }

  /** IsTimeToProbeBW, IsRenoCoexistenceProbeTime (§5.3.3.8.3). */
  #isTimeToProbe(now: number): boolean {
    if (now > this.#cycleStamp + this.#waitMs) return true;
    const renoRounds = this.#flow.targetInflight / this.#flow.segment;
    return this.#roundsSinceUp >= Math.min(renoRounds, MOST_RENO_ROUNDS);
  }

  #isTimeToCruise(inFlight: number): boolean {
    return inFlight <= this.inflightWithHeadroom && inFlight <= this.#flow.maxBwInflight;
  }

  /** `inFlight`: before the ACK, since what it has delivered can only be replaced after it. */
  #isTimeToGoDown(rs: RateSample, inFlight: number): boolean {
    const { model, fullBw, isCwndLimited, window, segment } = this.#flow;
    // The window is no more than the bound: nothing is in flight beyond its last whole segment.
    if (this.#wasTooHigh && inFlight > model.inflightLongterm - segment) {
      this.#wasPrecautionary = true;
      return true;
    }
    if (isCwndLimited && window >= model.inflightLongterm) {
      // It is the bound that limits the rate, not the path.
      fullBw.reset(rs.deliveryRate);
      return false;
    }
    return fullBw.now;
  }

  /** InflightWithHeadroom: leaves others some of what the path is known to hold. */
  get inflightWithHeadroom(): number {
    const { model, segment, minPipeCwnd } = this.#flow;
    if (model.inflightLongterm === UNLIMITED) return UNLIMITED;
    const headroom = Math.max(segment, HEADROOM * model.inflightLongterm);
    return Math.max(model.inflightLongterm - headroom, minPipeCwnd);
  }

  /** RaiseInflightLongtermSlope: the steps double with every round. */
  #raiseSlope(): void {
    const growth = 2 ** this.#upRounds;
    this.#upRounds = Math.min(this.#upRounds + 1, MOST_PROBE_UP_ROUNDS);
    this.#upAckedPerIncrease = Math.max(this.#flow.window / growth, this.#flow.segment);
  }

  /** ProbeInflightLongtermUpward. */
  #probeUpward(newlyAcked: number): void {
    const { model, isCwndLimited, window, segment } = this.#flow;
    if (!isCwndLimited || window < model.inflightLongterm) return;
    this.#upAcked += newlyAcked;
    const steps = Math.floor(this.#upAcked / this.#upAckedPerIncrease);
    if (steps > 0) {
      this.#upAcked -= steps * this.#upAckedPerIncrease;
      model.inflightLongterm += steps * segment;
    }
    if (model.roundStart) this.#raiseSlope();
  }

  /** AdaptLongTermModel: true if it has decided on the state. */
  #adaptLongTermModel(rs: RateSample, newlyAcked: number, hasSelectiveAcks: boolean): boolean {
    const { model, state } = this.#flow;
    if (this.#ackPhase === 'probe-starting' && model.roundStart) this.#ackPhase = 'probe-feedback';
    if (this.#ackPhase === 'probe-stopping' && model.roundStart) {
      this.#isProbeSample = false;
      this.#ackPhase = 'init';
      if (isProbeBw(state)) {
        if (!rs.isAppLimited) model.advanceMaxBwFilter();
        if (this.#wasPrecautionary && !this.#wasTooHigh) {
          this.startRefill();
          return true;
        }
      }
    }
    if (!rs.hasData || isInflightTooHigh(rs.lost, rs.txInFlight, hasSelectiveAcks)) return false;
    if (model.inflightLongterm === UNLIMITED) return false;
    if (rs.txInFlight > model.inflightLongterm) model.inflightLongterm = rs.txInFlight;
    if (state === 'probe-bw-up') this.#probeUpward(newlyAcked);
    return false;
  }

  /** HandleLostPacket (§5.5.10.2). True if it ended ProbeBW_UP. */
  onPacketLost(packet: LostPacket, hasSelectiveAcks: boolean, now: number): boolean {
    if (!this.#isProbeSample || !isInflightTooHigh(packet.lost, packet.txInFlight, hasSelectiveAcks)) {
      return false;
    }
    return this.handleInflightTooHigh(inflightAtLoss(packet), packet.isAppLimited, now);
  }

  /** The path has marked what was sent to probe (§3.7: a mark is congestion). True if it ended ProbeBW_UP. */
  onMark(inFlight: number, isAppLimited: boolean, now: number): boolean {
    return this.#isProbeSample && this.handleInflightTooHigh(inFlight, isAppLimited, now);
  }

  /** HandleInflightTooHigh (§5.5.10.2). True if it ended ProbeBW_UP. */
  handleInflightTooHigh(txInFlight: number, isAppLimited: boolean, now: number): boolean {
    const flow = this.#flow;
    this.#wasTooHigh = true;
    this.#isProbeSample = false;
    if (!isAppLimited) flow.model.inflightLongterm = Math.max(txInFlight, flow.targetInflight * BETA);
    if (flow.state !== 'probe-bw-up') return false;
    this.startDown(now);
    return true;
  }
}

/** InflightAtLoss (§5.5.10.2): at which volume, within the lost packet, the losses passed the threshold. */
function inflightAtLoss({ size, txInFlight, lost }: LostPacket): number {
  const inflightBefore = txInFlight - size;
  const lostBefore = lost - size;
  const prefix = (LOSS_THRESHOLD * inflightBefore - lostBefore) / (1 - LOSS_THRESHOLD);
  // Where the threshold was passed before this packet, the whole of what was before it stands.
  return inflightBefore + Math.max(prefix, 0);
}
