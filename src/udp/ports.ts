import { NetError } from '../errors.ts';
import { type Random, randomBelow } from '../time/random.ts';
import { type Binding, NO_MATCH } from './binding.ts';

interface Bound {
  readonly binding: Binding;
}

/** Sockets by local port. Few share one: they differ in their local address. */
export class PortTable<Socket extends Bound> {
  readonly #sockets = new Map<number, Socket[]>();
  readonly #random: Random;
  readonly #first: number;
  readonly #last: number;
  #count = 0;

  constructor(random: Random, ephemeralPorts: readonly [first: number, last: number]) {
    this.#random = random;
    [this.#first, this.#last] = ephemeralPorts;
    if (!(this.#first >= 1 && this.#first <= this.#last && this.#last <= 65_535)) {
      throw new NetError('EINVAL', { reason: `no ports within ${this.#first}..${this.#last}` });
    }
  }

  get count(): number {
    return this.#count;
  }

  /** The sockets of `port`; the table's own array, not to be kept. */
  at(port: number): readonly Socket[] | undefined {
    return this.#sockets.get(port);
  }

  add(socket: Socket): void {
    const { port } = socket.binding;
    const sharers = this.#sockets.get(port);
    if (sharers === undefined) this.#sockets.set(port, [socket]);
    else sharers.push(socket);
    this.#count++;
  }

  delete(socket: Socket): void {
    const { port } = socket.binding;
    const sharers = this.#sockets.get(port);
    const index = sharers?.indexOf(socket) ?? -1;
    if (sharers === undefined || index < 0) return;
    sharers.splice(index, 1);
    if (sharers.length === 0) this.#sockets.delete(port);
    this.#count--;
  }

  isFree(binding: Binding): boolean {
    const sharers = this.#sockets.get(binding.port);
    return sharers === undefined || !sharers.some((socket) => socket.binding.overlaps(binding));
  }

  /**
   * A free binding on an ephemeral port, made by `bindingAt`: a random start,
   * then one port after the other (RFC 6056 §3.3.1), each looked at once.
   * Throws `EADDRNOTAVAIL` when all are taken.
   */
  ephemeral(bindingAt: (port: number) => Binding): Binding {
    const range = this.#last - this.#first + 1;
    const start = randomBelow(this.#random, range);
    for (let i = 0; i < range; i++) {
      const binding = bindingAt(this.#first + ((start + i) % range));
      if (this.isFree(binding)) return binding;
    }
    throw new NetError('EADDRNOTAVAIL', {
      syscall: 'bind',
      reason: `ports ${this.#first}..${this.#last} are all in use`,
    });
  }

  all(): Socket[] {
    return [...this.#sockets.values()].flat();
  }
}

/** The socket among `sharers` that fits best, the last bound of equals, or null. `NO_MATCH` never wins. */
export function bestMatch<Socket extends Bound>(
  sharers: readonly Socket[],
  destination: Parameters<Binding['match']>[0],
  remote: Parameters<Binding['match']>[1],
  remotePort: number,
  arrival: number | null,
): Socket | null {
  let best: Socket | null = null;
  let bestScore = NO_MATCH;
  for (let i = 0; i < sharers.length; i++) {
    const score = sharers[i]!.binding.match(destination, remote, remotePort, arrival);
    if (score > NO_MATCH && score >= bestScore) {
      best = sharers[i]!;
      bestScore = score;
    }
  }
  return best;
}
