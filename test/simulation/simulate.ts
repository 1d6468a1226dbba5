import type { CaptureSink } from '../../src/netif/index.ts';
import { SeededRandom } from '../../src/time/index.ts';
import { openXenCards } from './cards.ts';
import { drawLine, drawMtus, drawOffloads, drawTcpOptions } from './conditions.ts';
import { Draw } from './draw.ts';
import { Script } from './scenarios.ts';
import { stationOf, World, type WorldPlan } from './world.ts';

export interface SimulationOptions {
  /** Told of every event. */
  readonly onEvent?: (line: string) => void;
  /** One per host, in turn. */
  readonly sinkFor?: (host: number) => CaptureSink;
  /** Every host has a Xen network card in front of its line. */
  readonly xen?: boolean;
}

export interface SimulationResult {
  readonly seed: number;
  readonly violations: readonly string[];
  /** Equal for equal runs. */
  readonly digest: number;
  readonly frames: number;
  readonly bytes: number;
  /** How long it took in the network's time, ms. */
  readonly virtualMs: number;
  readonly conversations: number;
}

/** Idle connections are parked at once for most, so that it happens in the middle of everything. */
const PARK_AFTER_MS = [0, 2000, 1, 0, 20];

/** What the seed stands for. */
function plan(seed: number, draw: Draw): { world: WorldPlan; ideal: boolean } {
  const ideal = draw.chance(0.08);
  const count = draw.pick([2, 2, 3, 3, 4]);
  const offloads = drawOffloads(draw);
  // Every other seed; no link of IPv6 is narrower than 1280.
  const family = seed % 2 === 0 ? 'IPv4' : 'IPv6';
  const mtus = drawMtus(draw, count).map((mtu) => (family === 'IPv4' ? mtu : Math.max(mtu, 1280)));
  const hosts = mtus.map((mtu, i) => ({
    line: drawLine(draw, mtu, ideal),
    tcp: { ...drawTcpOptions(draw), parkAfterMs: PARK_AFTER_MS[(seed + i) % PARK_AFTER_MS.length]! },
  }));
  const queueFrames = ideal ? 4096 : draw.pick([256, 256, 64, 1024]);
  return { world: { seed, family, offloads, queueFrames, hosts }, ideal };
}

/** Runs one seed from beginning to end. Never rejects: what went wrong is a violation. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const draw = new Draw(new SeededRandom(seed));
  const { world: worldPlan, ideal } = plan(seed, draw);
  const { sinkFor, onEvent } = options;
  const { hosts, offloads } = worldPlan;
  const cards =
    options.xen === true
      ? await openXenCards(
          hosts.map((_, i) => stationOf(i)),
          Math.max(...hosts.map(({ line }) => line.mtu)),
          offloads,
        )
      : undefined;
  const world = new World(
    worldPlan,
    sinkFor === undefined ? undefined : hosts.map((_, i) => sinkFor(i)),
    cards,
  );
  const { journal, clock, conversations } = world;
  if (onEvent !== undefined) {
    journal.onEvent = onEvent;
    onEvent(`seed ${seed}${ideal ? ' (ideal lines)' : ''}: ${JSON.stringify(worldPlan)}`);
  }
  const script = new Script(world, draw, ideal);
  script.write();
  try {
    await world.run(script.others);
  } catch (error) {
    journal.violation(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  if (journal.violations.length > 0) for (const { stack } of world.hosts) void stack.close().catch(() => {});
  return {
    seed,
    violations: journal.violations,
    digest: journal.digest,
    frames: journal.frames,
    bytes: journal.bytes,
    virtualMs: clock.now(),
    conversations: conversations.length,
  };
}
