import { IpAddress, MacAddress } from '../../src/address/index.ts';
import { DirectStack } from '../../src/direct/index.ts';
import {
  type CaptureSink,
  capture,
  type ImpairedNetif,
  type Impairments,
  impair,
  type Netif,
  type Offloads,
  Switch,
} from '../../src/netif/index.ts';
import type { Flow, StackStatistics } from '../../src/stack.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import { SeededRandom, VirtualClock } from '../../src/time/index.ts';
import type { Cards } from './cards.ts';
import { isLossy, type LineConditions, usesCookies } from './conditions.ts';
import type { Conversation } from './conversation.ts';
import { Draw } from './draw.ts';
import { Journal } from './journal.ts';
import { Observer } from './observer.ts';
import { StallWatch } from './stall-watch.ts';

export interface HostPlan {
  readonly line: LineConditions;
  readonly tcp: TcpOptions;
}

export interface WorldPlan {
  readonly seed: number;
  /** That hosts talk to each other in. */
  readonly family: 'IPv4' | 'IPv6';
  readonly offloads: Offloads;
  readonly queueFrames: number;
  readonly hosts: readonly HostPlan[];
}

export interface Host {
  readonly stack: DirectStack;
  readonly stalls: StallWatch;
  readonly line: ImpairedNetif;
  readonly plan: HostPlan;
  /** Its address in words. */
  readonly text: string;
  /** Frames may be lost, now or later. */
  lossy: boolean;
  closed: boolean;
}

/** Virtual time from the last close until nothing but sleeping entries may be left: 2 MSL, FIN-WAIT-2, ARP, reassembly. */
const AFTERGLOW_MS = 300_000;
const WATCH_MS = 1000;
/** From a server's `onFlow` until its client's `connect` answers, at most: the way back of a SYN-ACK that came, and no more. */
const UNCLAIMED_MS = 20_000;

/** Many stacks on one bridge, one clock, one journal. */
export class World {
  readonly clock: VirtualClock;
  readonly journal: Journal;
  readonly hosts: Host[] = [];
  readonly family: WorldPlan['family'];
  readonly conversations: Conversation[] = [];
  /** Someone keeps TIME-WAIT so shortly that an answer to a repeated FIN may be a reset. */
  readonly forgetsEarly: boolean;
  readonly #claims = new Map<string, ((flow: Flow) => void)[]>();
  readonly #unclaimed = new Map<string, Flow[]>();
  readonly #cards: Cards | undefined;
  #failure: unknown = null;

  constructor(plan: WorldPlan, sinks?: readonly CaptureSink[], cards?: Cards) {
    const clock = cards?.clock ?? new VirtualClock();
    const journal = new Journal(clock);
    this.clock = clock;
    this.journal = journal;
    this.#cards = cards;
    this.family = plan.family;
    this.forgetsEarly = plan.hosts.some(
      ({ tcp }) => (tcp.mslMs ?? 30_000) < 30_000 || tcp.maxTimeWait !== undefined,
    );
    const bridge = new Switch({
      clock,
      mtu: Math.max(...plan.hosts.map(({ line }) => line.mtu)),
      offloads: plan.offloads,
      queueFrames: plan.queueFrames,
    });
    const stations = new Map<number, MacAddress>();
    plan.hosts.forEach((_, i) => {
      stations.set(0x0a000001 + i, stationOf(i));
    });
    plan.hosts.forEach((hostPlan, i) => {
      const address = 0x0a000001 + i;
      const { line, tcp } = hostPlan;
      const random = new SeededRandom(Math.imul(plan.seed, 64) + 2 * i + 1);
      const port = bridge.port({ name: `host ${i + 1}`, mac: stations.get(address)! });
      const impaired = impair(port, { clock, random, transmit: line.transmit, receive: line.receive });
      let netif: Netif = new Observer(cards?.plug(impaired, i) ?? impaired, {
        clock,
        journal,
        host: i,
        address,
        mtu: line.mtu,
        receiveBuffer: tcp.receiveBuffer ?? 4 << 20,
        cookies: usesCookies(tcp),
        hasDropped: () =>
          stack.network.interfaces.some(
            ({ arp, ipv6 }) =>
              arp.counters.queueDrops > 0 || (ipv6 !== null && ipv6.ndp.counters.queueDrops > 0),
          ),
        stations,
        stalls: line.stalls,
        draw: new Draw(random),
      });
      const sink = sinks?.[i];
      if (sink !== undefined) netif = capture(netif, sink, { clock, collectMs: 1e9 });
      const text = this.address(i + 1);
      const stalls = new StallWatch((problem) => journal.violation(`host ${i + 1}: ${problem}`));
      const stack: DirectStack = new DirectStack({
        netif,
        ipv4: `${IpAddress.ipv4(address)}/24`,
        // Asked for at once, as IPv4's are.
        ...(plan.family === 'IPv6' ? { ipv6: `${text}/64`, probeAddress: false } : {}),
        clock,
        random: new SeededRandom(Math.imul(plan.seed, 64) + 2 * i + 2),
        tcp: { ...tcp, onTrace: stalls.onTrace },
      });
      this.hosts.push({
        stack,
        stalls,
        line: impaired,
        plan: hostPlan,
        text,
        lossy: isLossy(line),
        closed: false,
      });
    });
  }

  /** Of the host of that number, from 1, or of nobody; in words. */
  address(number: number): string {
    const low = 0x0a000000 + number;
    if (this.family === 'IPv4') return IpAddress.ipv4(low).toString();
    return new IpAddress().setWords(0xfd000000, 0, 0, low).toString();
  }

  /** Whoever connects from `clientPort` to `port` next is given to `accept`. */
  claim(port: number, clientPort: number, accept: (flow: Flow) => void): void {
    const key = `${port}:${clientPort}`;
    const waiting = this.#unclaimed.get(key)?.shift();
    if (waiting !== undefined) accept(waiting);
    else this.#claims.set(key, [...(this.#claims.get(key) ?? []), accept]);
  }

  /** What `listen` is given: hands the flow to the conversation that it belongs to. */
  readonly accept = (flow: Flow): void => {
    const key = `${flow.local.port}:${flow.remote.port}`;
    const accept = this.#claims.get(key)?.shift();
    if (accept !== undefined) {
      accept(flow);
      return;
    }
    this.#unclaimed.set(key, [...(this.#unclaimed.get(key) ?? []), flow]);
    // Whoever connected has given up, or was brought back by a cookie: nobody will ask for it.
    this.clock
      .alarm(() => {
        if (this.#unclaimed.get(key)?.includes(flow) === true) flow.abort();
      })
      .set(this.clock.now() + UNCLAIMED_MS);
  };

  /** Replaces a line's impairments for a while, or for ever. */
  async cut(host: number, atMs: number, forMs: number): Promise<void> {
    const { line, plan } = this.hosts[host]!;
    const gone: Impairments = { loss: 1 };
    await this.clock.sleep(atMs);
    this.journal.event(`host ${host + 1}: line cut`);
    line.set({ transmit: gone, receive: gone });
    if (forMs === Infinity) return;
    await this.clock.sleep(forMs);
    this.journal.event(`host ${host + 1}: line back`);
    line.set({ transmit: plan.line.transmit, receive: plan.line.receive });
  }

  async closeStack(host: number, atMs: number): Promise<void> {
    await this.clock.sleep(atMs);
    this.journal.event(`host ${host + 1}: stack closes`);
    this.hosts[host]!.closed = true;
    await this.hosts[host]!.stack.close();
    this.journal.event(`host ${host + 1}: stack closed`);
  }

  /** Runs the conversations and whatever else goes on, then takes everything down and looks for remains. */
  async run(others: (() => Promise<void>)[]): Promise<void> {
    const { clock, journal, hosts } = this;
    for (const { stack } of hosts) await stack.ready();
    let running = 0;
    const follow = (task: Promise<void>): void => {
      running++;
      task.then(
        () => running--,
        (error: unknown) => {
          running--;
          this.#failure ??= error;
        },
      );
    };
    for (const other of others) follow(other());
    for (const conversation of this.conversations) follow(conversation.run());
    let watchAt = 0;
    const over = (): boolean => {
      if (this.#failure !== null || journal.violations.length > 0) return true;
      if (clock.now() >= watchAt) {
        watchAt = clock.now() + WATCH_MS;
        this.#watch();
      }
      return running === 0;
    };
    await clock.run(over, 24 * 3600_000);
    if (this.#failure !== null) throw this.#failure;
    if (journal.violations.length > 0) return;
    if (running > 0) {
      const open = this.conversations.filter(({ done }) => !done).map((each) => each.describe());
      journal.violation(`no alarm is left, and yet it is not over: ${open.join('\n')}`);
      return;
    }
    await this.#checkEnd();
  }

  #watch(): void {
    const now = this.clock.now();
    for (const { stack, stalls, closed } of this.hosts) if (!closed) stalls.look(stack.tcp.layer, now);
    for (const conversation of this.conversations) {
      if (conversation.done || now - conversation.progressAt <= conversation.options.patienceMs) continue;
      this.journal.violation(
        `no progress for ${now - conversation.progressAt} ms: ${conversation.describe()}`,
      );
    }
  }

  async #checkEnd(): Promise<void> {
    const { clock, journal, hosts } = this;
    for (const flows of this.#unclaimed.values()) for (const flow of flows) flow.abort();
    const slowest = Math.max(...hosts.map(({ plan }) => plan.tcp.mslMs ?? 30_000));
    await clock.runFor(2 * slowest + AFTERGLOW_MS);
    for (const [i, host] of hosts.entries()) {
      if (host.closed) continue;
      const statistics = host.stack.statistics();
      const tcp = statistics.tcp as StackStatistics;
      const udp = statistics.udp as StackStatistics;
      for (const name of ['flows', 'timeWait', 'segmentsInFlight', 'receiveMemory'] as const) {
        if (tcp[name] !== 0) journal.violation(`host ${i + 1}: ${name} ${tcp[name]} at the end`);
      }
      if (udp.sockets !== 0) journal.violation(`host ${i + 1}: ${udp.sockets} UDP sockets at the end`);
      if (statistics.timers !== 0) journal.violation(`host ${i + 1}: ${statistics.timers} timers at the end`);
    }
    let closing = hosts.length;
    for (const { stack } of hosts) void stack.close().then(() => closing--);
    await clock.run(() => closing === 0, 60_000);
    if (this.#cards !== undefined) {
      let unplugged = false;
      void this.#cards.close().then(() => {
        unplugged = true;
      });
      await clock.run(() => unplugged, 60_000);
      // The last word of xenstore, which nobody waits for.
      await clock.run(undefined, 1000);
    }
    if (clock.step()) journal.violation('an alarm or a task is left when all stacks are closed');
  }
}

/** The address of host number `host`, from 0. Far apart: one flipped bit must not make it another station's. */
export function stationOf(host: number): MacAddress {
  return new MacAddress(0x0242, Math.imul(host + 1, 0x11111111));
}
