import { DirectStack } from '../../src/direct/index.ts';
import { createCable } from '../../src/netif/index.ts';
import type { Flow, StackStatistics } from '../../src/stack.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import { SeededRandom, VirtualClock } from '../../src/time/index.ts';
import { Draw } from '../simulation/draw.ts';
import { Pattern } from '../simulation/pattern.ts';
import { echo, LIVE_PORT, PEER_MAC, recordCorpus, SACRIFICE_PORT, UDP_PORT, VICTIM_MAC } from './corpus.ts';
import { Injector } from './injector.ts';
import { distanceTo, Mutator, type Target } from './mutate.ts';

export interface FuzzOptions {
  readonly seed: number;
  readonly frames: number;
}

export interface FuzzResult {
  readonly problems: readonly string[];
  readonly frames: number;
  /** Bytes that the live connection carried there and back, all checked. */
  readonly echoed: number;
  /** Frames that the victim sent. */
  readonly answered: number;
  /** Connections that in-window segments ended. */
  readonly sacrificed: number;
  /** Heap in use after garbage collection, bytes: when everything is warm, and at the end; 0 without `--expose-gc`. */
  readonly heapBefore: number;
  readonly heapAfter: number;
  readonly statistics: StackStatistics;
}

/** Frames that come with one `flush`. */
const BATCH = 64;
const SACRIFICES = 4;
/** The live connection moves a piece with every so many batches. */
const PIECE = 2000;
/** Frames of virtual hours must not be needed for the live connection to go on: batches between two looks. */
const LOOK_BATCHES = 1500;
/** What the heap may have grown by: caches up to their caps (neighbours, half-open and ended connections, reassembly). */
const HEAP_TOLERANCE = 6 << 20;

/** Throws mutated frames at a stack that serves a connection all the while. */
export async function fuzz({ seed, frames }: FuzzOptions): Promise<FuzzResult> {
  const corpus = await recordCorpus();
  const run = new Fuzzing(seed, corpus);
  return run.run(frames);
}

class Fuzzing {
  readonly #clock = new VirtualClock();
  readonly #random: SeededRandom;
  readonly #mutator: Mutator;
  readonly #injector: Injector;
  readonly #victim: DirectStack;
  readonly #peer: DirectStack;
  readonly #problems: string[] = [];
  readonly #live: Target[] = [];
  readonly #sacrifices: Target[] = [];
  readonly #pattern: Pattern;
  #flow: Flow | null = null;
  #written = 0;
  #echoed = 0;
  #sacrificed = 0;
  #stopped = false;

  constructor(seed: number, corpus: readonly Uint8Array[]) {
    this.#random = new SeededRandom(seed);
    this.#pattern = new Pattern(seed);
    this.#mutator = new Mutator(this.#random, corpus);
    const clock = this.#clock;
    const [peerEnd, victimEnd] = createCable({ clock, macs: [PEER_MAC, VICTIM_MAC], queueFrames: 1024 });
    this.#injector = new Injector(victimEnd);
    const draw = new Draw(new SeededRandom(~seed));
    const tcp: TcpOptions = {
      receiveBuffer: 65_536,
      sendBuffer: 65_536,
      mslMs: 1000,
      keepAliveIntervalMs: 1000,
      timestamps: draw.chance(0.6),
      sack: draw.chance(0.7),
      windowScaling: draw.chance(0.7),
      rack: draw.chance(0.7),
      congestionControl: draw.pick(['newreno', 'cubic']),
      synQueue: draw.pick([8, 1024]),
    };
    const common = { clock, tcp, gateway: '10.0.0.1' };
    this.#peer = new DirectStack({
      netif: peerEnd,
      ipv4: '10.0.0.1/24',
      clock,
      tcp,
      random: new SeededRandom(seed + 1),
    });
    this.#victim = new DirectStack({
      ...common,
      netif: this.#injector,
      ipv4: '10.0.0.2/24',
      random: new SeededRandom(seed + 2),
    });
  }

  async run(frames: number): Promise<FuzzResult> {
    const clock = this.#clock;
    await Promise.all([this.#peer.ready(), this.#victim.ready()]);
    await this.#serve();
    void this.#keepSacrificing();
    await this.#drive(this.#connectLive());
    let heapBefore = 0;
    let echoedAtLook = 0;
    let failure: unknown = null;
    try {
      for (let made = 0, batch = 0; made < frames; batch++) {
        for (let i = 0; i < BATCH && made < frames; i++, made++) this.#injectOne();
        this.#injector.injected();
        this.#writePiece();
        await clock.runFor(1);
        if (this.#problems.length > 0) break;
        if (heapBefore === 0 && made >= frames / 4) heapBefore = await this.#heap();
        if (batch % LOOK_BATCHES === LOOK_BATCHES - 1) {
          if (this.#echoed === echoedAtLook)
            this.#problems.push(`the live connection stands still at ${this.#echoed}`);
          echoedAtLook = this.#echoed;
        }
      }
      if (this.#problems.length === 0) await this.#finishLive();
    } catch (error) {
      failure = error;
    }
    if (failure !== null)
      this.#problems.push(failure instanceof Error ? (failure.stack ?? failure.message) : String(failure));
    const heapAfter = await this.#heap();
    if (heapBefore > 0 && heapAfter - heapBefore > HEAP_TOLERANCE) {
      this.#problems.push(`the heap grew from ${heapBefore} to ${heapAfter} bytes`);
    }
    const statistics = this.#victim.statistics();
    if (this.#problems.length === 0) await this.#close();
    return {
      problems: this.#problems,
      frames,
      echoed: this.#echoed,
      answered: this.#injector.sent,
      sacrificed: this.#sacrificed,
      heapBefore,
      heapAfter,
      statistics,
    };
  }

  // ---------------------------------------------------------------- frames

  #injectOne(): void {
    const mutator = this.#mutator;
    const choice = (this.#random.next32() >>> 0) % 100;
    const live = this.#live[0]!;
    const sacrifice = this.#sacrifices[(this.#random.next32() >>> 0) % Math.max(1, this.#sacrifices.length)];
    if (choice < 62 || (sacrifice === undefined && choice >= 77)) {
      // A mutant that by chance is what the live connection waits for would be no forgery to be seen through.
      do mutator.mutant();
      while (isExpected(mutator, live));
    } else if (choice < 75) {
      mutator.blind(live);
    } else if (choice < 77) {
      mutator.error(live, false);
    } else if (choice < 97) {
      mutator.inWindow(sacrifice!);
    } else {
      mutator.error(sacrifice!, true);
    }
    this.#injector.inject(mutator.bytes, mutator.length);
  }

  // ---------------------------------------------------------------- traffic

  async #serve(): Promise<void> {
    const { tcp, udp } = this.#victim;
    await tcp.listen({ port: LIVE_PORT }, (flow) => void echo(flow));
    await tcp.listen({ port: SACRIFICE_PORT }, (flow) => void echo(flow));
    const socket = await udp.bind({ port: UDP_PORT });
    void (async () => {
      for await (const { data, remote } of socket) {
        await socket.send(data, { host: remote.address, port: remote.port }).catch(() => {});
      }
    })();
    await this.#peer.tcp.listen({ port: SACRIFICE_PORT }, (flow) => void echo(flow));
  }

  /** Watches a connection of the victim from its port and the peer's. */
  #watch(port: number, peerPort: number, list: Target[]): Target {
    const target: Target = { peerPort, port, next: 0, expected: 0 };
    this.#injector.targets.set((port << 16) | peerPort, target);
    list.push(target);
    return target;
  }

  #unwatch(target: Target): void {
    this.#injector.targets.delete((target.port << 16) | target.peerPort);
    this.#sacrifices.splice(this.#sacrifices.indexOf(target), 1);
  }

  async #connectLive(): Promise<void> {
    const flow = await this.#peer.tcp.connect({ host: '10.0.0.2', port: LIVE_PORT });
    this.#flow = flow;
    this.#watch(LIVE_PORT, flow.local.port, this.#live);
    void this.#readLive(flow);
    this.#writePiece();
    while (this.#echoed === 0) await this.#clock.sleep(1);
  }

  #writePiece(): void {
    // So far behind, something else will be the matter soon.
    if (this.#written - this.#echoed > 60_000) return;
    const data = this.#pattern.bytes(this.#written, PIECE);
    this.#written += PIECE;
    this.#flow!.write(data).catch((error: unknown) =>
      this.#problems.push(`writing to the live connection: ${String(error)}`),
    );
  }

  async #readLive(flow: Flow): Promise<void> {
    try {
      for await (const chunk of flow) {
        const wrong = this.#pattern.mismatch(chunk, this.#echoed);
        if (wrong >= 0) this.#problems.push(`byte ${this.#echoed + wrong} of the live connection is wrong`);
        this.#echoed += chunk.length;
      }
    } catch (error) {
      this.#problems.push(`reading from the live connection: ${String(error)}`);
    }
  }

  async #finishLive(): Promise<void> {
    await this.#drive(this.#flow!.shutdown());
    await this.#clock.runFor(1000);
    if (this.#echoed !== this.#written) {
      this.#problems.push(`${this.#written} bytes written to the live connection, ${this.#echoed} came back`);
    }
  }

  /** Some connections that may be broken: opened by either side, and again when they end. */
  async #keepSacrificing(): Promise<void> {
    await Promise.all(
      Array.from({ length: SACRIFICES }, async (_, i) => {
        while (!this.#stopped) {
          await this.#sacrifice(i % 2 === 0);
          await this.#clock.sleep(1);
        }
      }),
    );
  }

  async #sacrifice(byPeer: boolean): Promise<void> {
    const [from, host] = byPeer ? [this.#peer, '10.0.0.2'] : [this.#victim, '10.0.0.1'];
    let target: Target | null = null;
    try {
      const flow = await from.tcp.connect({ host, port: SACRIFICE_PORT, timeoutMs: 2000 });
      target = byPeer
        ? this.#watch(SACRIFICE_PORT, flow.local.port, this.#sacrifices)
        : this.#watch(flow.local.port, SACRIFICE_PORT, this.#sacrifices);
      // Both get out of step at times and wait for one another: such a connection is given up.
      const alarm = this.#clock.alarm(() => flow.abort());
      alarm.set(this.#clock.now() + 3000);
      const reading = (async () => {
        for await (const _ of flow) {
          // Whatever comes is not ours.
        }
      })();
      reading.catch(() => {});
      try {
        for (let i = 0; i < 100; i++) {
          await flow.write(new Uint8Array(300 + 40 * i));
          await this.#clock.sleep(3);
        }
        await flow.shutdown();
        await reading;
        await flow.close();
      } finally {
        flow.abort();
        alarm.clear();
      }
    } catch {
      // That is what it is there for.
    } finally {
      this.#sacrificed++;
      if (target !== null) this.#unwatch(target);
    }
  }

  // ---------------------------------------------------------------- the end

  async #close(): Promise<void> {
    this.#stopped = true;
    await this.#drive(this.#flow!.close());
    // Half-open connections of spoofed hosts, fragments, TIME-WAIT, and path MTUs (ten minutes): all of it ends by itself.
    await this.#clock.runFor(900_000);
    const statistics = this.#victim.statistics();
    const tcp = statistics.tcp as StackStatistics;
    for (const name of ['flows', 'timeWait', 'segmentsInFlight']) {
      if (tcp[name] !== 0) this.#problems.push(`${name} ${tcp[name]} when all is over`);
    }
    if (statistics.timers !== 0) this.#problems.push(`${statistics.timers} timers when all is over`);
    if (this.#problems.length === 0)
      await this.#drive(Promise.all([this.#victim.close(), this.#peer.close()]).then(() => {}));
    const closedAt = this.#clock.now();
    while (this.#clock.step()) {
      // The ends of the cable tell each other that they are gone; nothing may wait for later.
      if (this.#clock.now() === closedAt) continue;
      this.#problems.push('an alarm is left when the stacks are closed');
      break;
    }
  }

  /** Runs the clock until `promise` settles. */
  async #drive(promise: Promise<void>): Promise<void> {
    let over = false;
    const note = (): void => {
      over = true;
    };
    promise.then(note, note);
    await this.#clock.run(() => over, 100_000);
    await promise;
  }

  async #heap(): Promise<number> {
    const { gc } = globalThis;
    if (gc === undefined) return 0;
    // What the wheel and the event loop still hold is let go of.
    await new Promise((resolve) => setImmediate(resolve));
    gc();
    gc();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  }
}

function isExpected({ bytes, length }: Mutator, target: Target): boolean {
  const distance = distanceTo(bytes, length, target);
  return distance !== null && Math.abs(distance) < 0x1000000;
}
