import { allocate } from '../bytes/index.ts';

/** Large enough that a slab holds four frames of 64 KiB; small enough to stay in cache and to let go of. */
const SLAB_BYTES = 256 * 1024;

/** How many idle slabs an arena keeps. */
const MOST_SPARE = 4;

/** A piece of memory that frames are built in, one behind the other. */
export class Slab {
  readonly bytes: Uint8Array;
  /** Where the next frame may begin. */
  position = 0;
  /** Bytes before this are kept by someone and never written again. */
  keptUpTo = 0;
  /** Frames in it that are on their way. */
  inFlight = 0;
  readonly #arena: SlabArena;

  constructor(arena: SlabArena, size: number) {
    this.#arena = arena;
    this.bytes = allocate(size);
  }

  /**
   * One frame that ends at `end` has been dealt with; `retained` if someone
   * keeps a view of it. Call it once per frame and receiver.
   */
  release(end: number, retained: boolean): void {
    if (retained && end > this.keptUpTo) this.keptUpTo = end;
    if (--this.inFlight === 0) {
      // All before `keptUpTo` is given away, all behind it is free.
      this.position = this.keptUpTo;
      this.#arena.idle(this);
    }
  }
}

/**
 * The memory of one sender. Frames that nobody retains use the same hot bytes
 * again and again; the bytes of retained ones are left to the garbage collector
 * together with their slab.
 */
export class SlabArena {
  #current: Slab;
  readonly #spare: Slab[] = [];

  constructor() {
    this.#current = new Slab(this, SLAB_BYTES);
  }

  /**
   * The slab with room for `size` bytes at its `position`. The room is taken by
   * {@link take}; without that, the next call may answer the same place.
   */
  room(size: number): Slab {
    const current = this.#current;
    if (current.position + size <= current.bytes.length) return current;
    if (size > SLAB_BYTES) return new Slab(this, size);
    this.#current = this.#spare.pop() ?? new Slab(this, SLAB_BYTES);
    return this.#current;
  }

  /** Takes the room that was asked for, up to `end`; each of `receivers` will release it. */
  take(slab: Slab, end: number, receivers: number): void {
    slab.position = end;
    slab.inFlight += receivers;
  }

  /** Called by a slab with nothing in flight. */
  idle(slab: Slab): void {
    if (slab === this.#current || slab.keptUpTo > 0) return;
    if (slab.bytes.length === SLAB_BYTES && this.#spare.length < MOST_SPARE) this.#spare.push(slab);
  }
}
