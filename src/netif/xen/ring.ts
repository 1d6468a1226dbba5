import { NetError } from '../../errors.ts';
import { PAGE_SIZE } from './hypervisor.ts';

/*
 * The ring of io/ring.h: a power of two of entries, each of which holds a
 * request until its response takes its place, and four counters that only grow
 * (and wrap at 2^32):
 *
 *   0 req_prod   requests published            written by the frontend
 *   1 req_event  "wake me at this many"        written by the backend
 *   2 rsp_prod   responses published           written by the backend
 *   3 rsp_event  "wake me at this many"        written by the frontend
 *
 * What the other end writes is never trusted: each end keeps its own counters
 * to itself, reads the other's once per look, and believes it only within what
 * is possible.
 *
 * Ordering. Three things must hold:
 *
 *   1. entries are visible before the counter that publishes them;
 *   2. entries are read after the counter that published them;
 *   3. between the store of one counter and the load of the other (publish,
 *      then look at the event; set the event, then look at the counter) the
 *      processor must not let the load overtake the store. If both ends do, each
 *      misses what the other wrote, and both sleep for ever.
 *
 * Counters are therefore read and written with `Atomics` alone. On memory that
 * JavaScript threads share (`SharedArrayBuffer`) the language promises all
 * three: atomics are sequentially consistent and order the plain accesses around
 * them. Memory that is mapped from another domain is an ordinary `ArrayBuffer`
 * to JavaScript, for which the language promises nothing, so there it rests on
 * V8: it compiles `Atomics.store` on any integer array to the same sequentially
 * consistent store, `xchg` on x86 (a full barrier: 3), `stlr` on Arm; and
 * an atomic access is an effect that plain element accesses are not moved
 * across. x86 keeps loads with loads and stores with stores in their order (1,
 * 2); Arm has the acquire and release of the atomics for it. The suite runs the
 * store-buffer test of two threads on one page that neither knows to be shared
 * (`test/netif-xen/threads/barrier.slow.test.ts`): plain accesses fail it, atomics never do.
 */
const REQUEST_PRODUCER = 0;
const REQUEST_EVENT = 1;
const RESPONSE_PRODUCER = 2;
const RESPONSE_EVENT = 3;
/** Words before the first entry. */
const HEADER_WORDS = 16;

const PAGE_WORDS = PAGE_SIZE / 4;

/** How many entries of `entryWords` words a ring on `pages` pages has: the largest power of two that fits. */
export function ringSize(pages: number, entryWords: number): number {
  return 2 ** Math.floor(Math.log2((pages * PAGE_WORDS - HEADER_WORDS) / entryWords));
}

/** What both ends have: the memory, and where an entry is in it. */
class Ring {
  readonly words: Int32Array;
  /** Entries. */
  readonly size: number;
  readonly #entryWords: number;

  constructor(memory: Uint8Array, entryWords: number) {
    this.words = new Int32Array(memory.buffer, memory.byteOffset, memory.length / 4);
    this.size = ringSize(memory.length / PAGE_SIZE, entryWords);
    this.#entryWords = entryWords;
  }

  /** Index in `words` of the entry with this running number. */
  entry(number: number): number {
    return HEADER_WORDS + (number & (this.size - 1)) * this.#entryWords;
  }
}

/** The frontend's end: makes requests, takes responses. */
export class FrontRing extends Ring {
  /** Number of the next request; those from `published` on are not visible yet. */
  requestProducer = 0;
  published = 0;
  /** Number of the next response. */
  responseConsumer = 0;

  /** Makes an empty ring in `memory`, which is ours and not yet known to the other end. */
  constructor(memory: Uint8Array, entryWords: number) {
    super(memory, entryWords);
    this.words.fill(0);
    Atomics.store(this.words, REQUEST_EVENT, 1);
    Atomics.store(this.words, RESPONSE_EVENT, 1);
  }

  /** Entries that hold neither a request nor a response that was not taken yet. */
  get free(): number {
    return this.size - this.outstanding;
  }

  /** Requests whose response was not taken yet. */
  get outstanding(): number {
    return (this.requestProducer - this.responseConsumer) | 0;
  }

  /** Makes all requests up to `requestProducer` visible. True if the other end asked for an event by now. */
  publish(): boolean {
    const before = this.published;
    const after = this.requestProducer;
    if (before === after) return false;
    this.published = after;
    Atomics.store(this.words, REQUEST_PRODUCER, after);
    return isPassed(Atomics.load(this.words, REQUEST_EVENT), before, after);
  }

  /** How many responses wait; -1 if the other end claims more than there are requests, or takes some back. */
  responses(): number {
    const count = (Atomics.load(this.words, RESPONSE_PRODUCER) - this.responseConsumer) | 0;
    return count <= ((this.published - this.responseConsumer) | 0) && count >= 0 ? count : -1;
  }

  /**
   * Asks for an event when `count` responses wait (which has to be more than
   * waited at the last look). True if they do already: then no event will come,
   * and the caller must look again.
   */
  arm(count: number): boolean {
    const event = (this.responseConsumer + count) | 0;
    Atomics.store(this.words, RESPONSE_EVENT, event);
    // Whatever was published before the other end could see the wish is seen here.
    return ((Atomics.load(this.words, RESPONSE_PRODUCER) - event) | 0) >= 0;
  }
}

/** The backend's end: takes requests, makes responses, one for each in the same order. */
export class BackRing extends Ring {
  /** Number of the next request. */
  requestConsumer: number;
  /** Number of the next response; those from `published` on are not visible yet. */
  responseProducer: number;
  published: number;

  /**
   * Attaches to a ring that the other end made.
   *
   * @throws NetError `EPROTO` if its counters cannot be
   */
  constructor(memory: Uint8Array, entryWords: number) {
    super(memory, entryWords);
    this.published = Atomics.load(this.words, RESPONSE_PRODUCER);
    this.requestConsumer = this.published;
    this.responseProducer = this.published;
    if (this.requests() < 0) {
      throw new NetError('EPROTO', {
        syscall: 'attach',
        reason: `the frontend's ring of ${this.size} begins with impossible counters`,
      });
    }
  }

  /** How many requests wait; -1 if the other end claims more than the ring holds, or takes some back. */
  requests(): number {
    const count = (Atomics.load(this.words, REQUEST_PRODUCER) - this.requestConsumer) | 0;
    const most = this.size - ((this.requestConsumer - this.published) | 0);
    return count <= most && count >= 0 ? count : -1;
  }

  /** As {@link FrontRing.arm}, for requests. */
  arm(count: number): boolean {
    const event = (this.requestConsumer + count) | 0;
    Atomics.store(this.words, REQUEST_EVENT, event);
    return ((Atomics.load(this.words, REQUEST_PRODUCER) - event) | 0) >= 0;
  }

  /** Makes all responses up to `responseProducer` visible. True if the other end asked for an event by now. */
  publish(): boolean {
    const before = this.published;
    const after = this.responseProducer;
    if (before === after) return false;
    this.published = after;
    Atomics.store(this.words, RESPONSE_PRODUCER, after);
    return isPassed(Atomics.load(this.words, RESPONSE_EVENT), before, after);
  }
}

/** Whether `event` is one of `before + 1 … after`, on a circle of 2^32. */
function isPassed(event: number, before: number, after: number): boolean {
  return (after - event) >>> 0 < (after - before) >>> 0;
}
