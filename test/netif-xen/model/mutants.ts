import { BackRing, FrontRing } from '../../../src/netif/xen/ring.ts';
import type { ModelOptions } from './explore.ts';

/*
 * Rings with one thing wrong each, every one of which has been in some driver.
 * A check that lets one of them pass is worth nothing.
 */

const RESPONSE_EVENT = 3;
const REQUEST_EVENT = 1;
const REQUEST_PRODUCER = 0;

/** Sleeps without the second look after it asked for an event. */
class NoFinalCheckFront extends FrontRing {
  override arm(count: number): boolean {
    Atomics.store(this.words, RESPONSE_EVENT, (this.responseConsumer + count) | 0);
    return false;
  }
}

class NoFinalCheckBack extends BackRing {
  override arm(count: number): boolean {
    Atomics.store(this.words, REQUEST_EVENT, (this.requestConsumer + count) | 0);
    return false;
  }
}

/** Looks first and asks afterwards. */
class LooksBeforeArming extends BackRing {
  override arm(count: number): boolean {
    if (this.requests() >= count) return true;
    Atomics.store(this.words, REQUEST_EVENT, (this.requestConsumer + count) | 0);
    return false;
  }
}

/** Reads the wish for an event before it publishes. */
class ReadsEventEarly extends FrontRing {
  override publish(): boolean {
    const before = this.published;
    const after = this.requestProducer;
    if (before === after) return false;
    const event = Atomics.load(this.words, REQUEST_EVENT);
    this.published = after;
    Atomics.store(this.words, REQUEST_PRODUCER, after);
    return (after - event) >>> 0 < (after - before) >>> 0;
  }
}

/** Tells the other end only if the last request is the one it waits for. */
class ExactEventOnly extends FrontRing {
  override publish(): boolean {
    const before = this.published;
    const after = this.requestProducer;
    if (before === after) return false;
    this.published = after;
    Atomics.store(this.words, REQUEST_PRODUCER, after);
    return Atomics.load(this.words, REQUEST_EVENT) === after;
  }
}

/** Compares counters as if they did not wrap. */
class ForgetsTheWrap extends FrontRing {
  override publish(): boolean {
    const before = this.published;
    const after = this.requestProducer;
    if (before === after) return false;
    this.published = after;
    Atomics.store(this.words, REQUEST_PRODUCER, after);
    const event = Atomics.load(this.words, REQUEST_EVENT);
    return event > before && event <= after;
  }
}

/** Takes one entry for free that is not. */
class OneTooMany extends FrontRing {
  override get free(): number {
    return this.size + 1 - this.outstanding;
  }
}

const WORK = { size: 2, requests: 4, packet: 1, batch: 1 };

export const MUTANTS: Readonly<Record<string, ModelOptions>> = {
  'a frontend that does not look again after it asked for an event': { ...WORK, Front: NoFinalCheckFront },
  'a backend that does not look again after it asked for an event': { ...WORK, Back: NoFinalCheckBack },
  'a backend that looks before it asks': { ...WORK, Back: LooksBeforeArming },
  'a frontend that reads the wish for an event before it publishes': { ...WORK, Front: ReadsEventEarly },
  'a frontend that tells only of the very request that is waited for': { ...WORK, Front: ExactEventOnly },
  'counters that are compared as if they did not wrap': {
    ...WORK,
    first: 0x7fffffff,
    Front: ForgetsTheWrap,
  },
  'a frontend that takes an entry which is not free': { ...WORK, Front: OneTooMany },
  'stores that loads overtake (no full barrier)': { ...WORK, buffered: true },
};
