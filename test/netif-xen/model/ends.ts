import type { BackRing, FrontRing } from '../../../src/netif/xen/ring.ts';
import type { Program } from './processor.ts';

/** What the two ends share besides the ring: the bits of their event channels. */
export interface Bits {
  front: boolean;
  back: boolean;
}

/** What went wrong: an end has seen what it must not. */
export class Violation extends Error {}

export interface Work {
  /** Requests in all; numbered from 1. */
  readonly requests: number;
  /** Slots of each packet: all of them are put in together or none. */
  readonly packet: number;
  /** Of how many answers at once the frontend wants to be told. */
  readonly batch: number;
}

const ANSWER = 1000;

/** Operations of both programs; the last sleeps. */
const LOOK = 0;
const TAKE = 1;
const FILL = 2;
const PUBLISH = 3;
const NOTIFY = 4;
const ARM = 5;
const SLEEP = 6;
export const DONE = 7;

/** Sends numbered requests, a packet at a time, whenever there is room; wants each answered in order. */
export class Frontend implements Program {
  pc = FILL;
  readonly ring: FrontRing;
  readonly #bits: Bits;
  readonly #work: Work;
  #sent = 0;
  #answered = 0;
  #waiting = 0;
  #tells = 0;

  constructor(ring: FrontRing, bits: Bits, work: Work) {
    this.ring = ring;
    this.#bits = bits;
    this.#work = work;
  }

  choices(pc: number): number {
    if (pc === SLEEP) return this.#bits.front ? 1 : 0;
    return pc === DONE ? 0 : 1;
  }

  run(pc: number): number {
    const { ring } = this;
    const { requests, packet, batch } = this.#work;
    switch (pc) {
      case LOOK:
        this.#waiting = ring.responses();
        if (this.#waiting < 0) throw new Violation('the frontend sees an impossible response counter');
        return TAKE;
      case TAKE:
        for (; this.#waiting > 0; this.#waiting--) {
          const value = ring.words[ring.entry(ring.responseConsumer++)];
          if (value !== ANSWER + ++this.#answered) {
            throw new Violation(`the frontend reads ${value} as answer ${this.#answered}`);
          }
        }
        return this.#answered === requests ? DONE : FILL;
      case FILL:
        while (this.#sent < requests && ring.free >= packet) {
          for (let slot = 0; slot < packet; slot++) {
            ring.words[ring.entry(ring.requestProducer++)] = ++this.#sent;
          }
        }
        ring.requestProducer |= 0;
        return PUBLISH;
      case PUBLISH:
        this.#tells = Number(ring.publish());
        return NOTIFY;
      case NOTIFY:
        if (this.#tells === 1) this.#bits.back = true;
        return ARM;
      case ARM:
        return ring.arm(Math.min(batch, ring.outstanding)) ? LOOK : SLEEP;
      default:
        this.#bits.front = false;
        return LOOK;
    }
  }

  save(): number[] {
    const { requestProducer, published, responseConsumer } = this.ring;
    return [
      requestProducer,
      published,
      responseConsumer,
      this.#sent,
      this.#answered,
      this.#waiting,
      this.#tells,
    ];
  }

  restore(state: readonly number[]): void {
    const { ring } = this;
    ring.requestProducer = state[0]!;
    ring.published = state[1]!;
    ring.responseConsumer = state[2]!;
    this.#sent = state[3]!;
    this.#answered = state[4]!;
    this.#waiting = state[5]!;
    this.#tells = state[6]!;
  }
}

/** Answers every request, one at a time or all that there are. */
export class Backend implements Program {
  pc = LOOK;
  readonly ring: BackRing;
  readonly #bits: Bits;
  #taken = 0;
  #waiting = 0;
  #tells = 0;

  constructor(ring: BackRing, bits: Bits) {
    this.ring = ring;
    this.#bits = bits;
  }

  choices(pc: number): number {
    if (pc === SLEEP) return this.#bits.back ? 1 : 0;
    return pc === TAKE && this.#waiting > 1 ? 2 : 1;
  }

  run(pc: number, choice: number): number {
    const { ring } = this;
    switch (pc) {
      case LOOK:
        this.#waiting = ring.requests();
        if (this.#waiting < 0) throw new Violation('the backend sees an impossible request counter');
        return TAKE;
      case TAKE:
        for (let left = choice === 0 ? this.#waiting : 1; left > 0; left--) {
          const value = ring.words[ring.entry(ring.requestConsumer++)];
          if (value !== ++this.#taken)
            throw new Violation(`the backend reads ${value} as request ${this.#taken}`);
          ring.words[ring.entry(ring.responseProducer++)] = ANSWER + value;
        }
        ring.requestConsumer |= 0;
        ring.responseProducer |= 0;
        this.#waiting = 0;
        return PUBLISH;
      case PUBLISH:
        this.#tells = Number(ring.publish());
        return NOTIFY;
      case NOTIFY:
        if (this.#tells === 1) this.#bits.front = true;
        return ARM;
      case ARM:
        return ring.arm(1) ? LOOK : SLEEP;
      default:
        this.#bits.back = false;
        return LOOK;
    }
  }

  save(): number[] {
    const { requestConsumer, published, responseProducer } = this.ring;
    return [requestConsumer, published, responseProducer, this.#taken, this.#waiting, this.#tells];
  }

  restore(state: readonly number[]): void {
    const { ring } = this;
    ring.requestConsumer = state[0]!;
    ring.published = state[1]!;
    ring.responseProducer = state[2]!;
    this.#taken = state[3]!;
    this.#waiting = state[4]!;
    this.#tells = state[5]!;
  }
}
