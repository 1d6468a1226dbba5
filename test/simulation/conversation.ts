import type { Flow } from '../../src/stack.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import { Pattern, streamKey } from './pattern.ts';
import { type Role, Side } from './side.ts';
import type { World } from './world.ts';

/** What may happen to a conversation beside a clean end: error codes. */
export interface Tolerance {
  readonly connect: readonly string[];
  readonly client: readonly string[];
  readonly server: readonly string[];
  /** One end may see the stream end before all that the other meant to send. */
  readonly mayEndShort: boolean;
  /** The connection may end before the server is told of it. */
  readonly mayMissServer: boolean;
}

export const NOTHING_ELSE: Tolerance = {
  connect: [],
  client: [],
  server: [],
  mayEndShort: false,
  mayMissServer: false,
};

export interface ConversationOptions {
  readonly name: string;
  readonly client: number;
  readonly server: number;
  readonly port: number;
  /** The client's port, where it matters. */
  readonly localPort?: number;
  readonly connectAfterMs: number;
  readonly clientRole: Role;
  readonly serverRole: Role;
  readonly tolerance: Tolerance;
  /** The longest time without progress, ms. */
  readonly patienceMs: number;
  /** Nobody listens: both ends connect to each other at once. */
  readonly simultaneous?: boolean;
  /** How long all of it may take, ms, from the connect on; for lines where that can be told. */
  readonly limitMs?: number;
  /** False where nothing can be lost. */
  readonly mayRetransmit?: boolean;
}

/** One connection from connect to the last close, and whether it went as it should. */
export class Conversation {
  readonly options: ConversationOptions;
  done = false;
  progressAt = 0;
  connectEnd = 'open';
  client: Side | null = null;
  server: Side | null = null;
  readonly #world: World;
  #startedAt = Number.POSITIVE_INFINITY;
  readonly #claim: { accept: ((flow: Flow) => void) | null } = { accept: null };

  constructor(world: World, options: ConversationOptions) {
    this.#world = world;
    this.options = options;
  }

  readonly #progress = (): void => {
    this.progressAt = this.#world.clock.now();
  };

  async run(): Promise<void> {
    const { options } = this;
    const { clock, journal } = this.#world;
    this.#progress();
    if (options.connectAfterMs > 0) await clock.sleep(options.connectAfterMs);
    this.#progress();
    this.#startedAt = clock.now();
    const flows = options.simultaneous === true ? await this.#connectBoth() : await this.#connect();
    this.#progress();
    if (flows === null) {
      this.done = true;
      return;
    }
    const { client, server } = flows;
    const playing = [this.#play('client', client)];
    playing.push(server.then((flow) => (flow === null ? undefined : this.#play('server', flow))));
    if (options.tolerance.mayMissServer) {
      // Once our end is through, whoever was not told by then may never be.
      void playing[0]!.then(async () => {
        await clock.sleep(60_000);
        if (this.server === null) this.#claim.accept?.(NOBODY);
      });
    }
    await Promise.all(playing);
    this.done = true;
    journal.event(`${options.name} is over`);
    this.#judge();
  }

  async #connect(): Promise<{ client: Flow; server: Promise<Flow | null> } | null> {
    const { options } = this;
    const { hosts, clock, journal } = this.#world;
    try {
      const client = await hosts[options.client]!.stack.tcp.connect({
        host: hosts[options.server]!.text,
        port: options.port,
        ...(options.localPort === undefined ? {} : { localPort: options.localPort }),
      });
      this.connectEnd = 'open';
      journal.event(`${options.name} connected from ${client.local.port}`);
      const server = new Promise<Flow | null>((resolve) => {
        this.#claim.accept = (flow) => resolve(flow === NOBODY ? null : flow);
      });
      this.#world.claim(options.port, client.local.port, (flow) => this.#claim.accept!(flow));
      return { client, server };
    } catch (error) {
      const code = codeOf(error);
      this.connectEnd = code;
      journal.event(`${options.name}: connect failed with ${code}`);
      if (!this.#mayFailToConnect(code)) {
        journal.violation(
          `${options.name}: connect failed with ${code} after ${clock.now() - this.#startedAt} ms: ${String(error)}`,
        );
      }
      return null;
    }
  }

  #mayFailToConnect(code: string): boolean {
    const { options } = this;
    if (options.tolerance.connect.includes(code)) return true;
    const { hosts, clock } = this.#world;
    const lossy = hosts[options.client]!.lossy || hosts[options.server]!.lossy;
    if (!lossy) return false;
    // Three requests a second apart have to be lost, the first of them maybe for another of the two hosts'
    // conversations, or all SYNs of a minute and more.
    if (code === 'EHOSTUNREACH') {
      const ends = [options.client, options.server];
      return this.#world.conversations.some(
        (other) =>
          ends.includes(other.options.client) &&
          ends.includes(other.options.server) &&
          clock.now() - other.#startedAt >= 2900,
      );
    }
    const elapsed = clock.now() - this.#startedAt;
    return code === 'ETIMEDOUT' && elapsed >= synPatienceMs(hosts[options.client]!.plan.tcp) - 1;
  }

  async #connectBoth(): Promise<{ client: Flow; server: Promise<Flow | null> } | null> {
    const { options } = this;
    const { hosts, journal } = this.#world;
    const [a, b] = [hosts[options.client]!, hosts[options.server]!];
    const localPort = options.localPort!;
    const ends = await Promise.allSettled([
      a.stack.tcp.connect({ host: b.text, port: options.port, localPort }),
      b.stack.tcp.connect({ host: a.text, port: localPort, localPort: options.port }),
    ]);
    const [client, server] = ends;
    if (client.status === 'fulfilled' && server.status === 'fulfilled') {
      return { client: client.value, server: Promise.resolve(server.value) };
    }
    for (const end of ends) {
      if (end.status === 'fulfilled') {
        end.value.abort();
        continue;
      }
      const code = codeOf(end.reason);
      this.connectEnd = code;
      journal.event(`${options.name}: connect failed with ${code}`);
      // When one gives up first, the other is refused or reset.
      const followed = code === 'ECONNREFUSED' && (a.lossy || b.lossy);
      if (!this.#mayFailToConnect(code) && !followed) {
        journal.violation(`${options.name}: simultaneous connect failed with ${code}: ${String(end.reason)}`);
      }
    }
    return null;
  }

  async #play(who: 'client' | 'server', flow: Flow): Promise<void> {
    const { options } = this;
    const { clock, journal } = this.#world;
    const isClient = who === 'client';
    const port = isClient ? flow.local.port : flow.remote.port;
    const up = new Pattern(streamKey(options.port, port, 1));
    const down = new Pattern(streamKey(options.port, port, 2));
    const side = new Side({
      name: `${options.name} ${who}`,
      flow,
      role: isClient ? options.clientRole : options.serverRole,
      clock,
      journal,
      out: isClient ? up : down,
      in: isClient ? down : up,
      onProgress: this.#progress,
    });
    if (isClient) this.client = side;
    else this.server = side;
    this.#progress();
    await side.run();
  }

  #judge(): void {
    const { options, client, server } = this;
    const { journal, clock } = this.#world;
    if (client === null) return;
    this.#judgeSide(client, server, options.tolerance.client);
    if (server !== null) this.#judgeSide(server, client, options.tolerance.server);
    const took = clock.now() - this.#startedAt;
    if (options.limitMs !== undefined && took > options.limitMs) {
      journal.violation(
        `${options.name} took ${took.toFixed(0)} ms, at most ${options.limitMs.toFixed(0)} are needed`,
      );
    }
    if (options.mayRetransmit !== false) return;
    for (const side of [client, server]) {
      const retransmits = side?.flow.stats.retransmits ?? 0;
      if (retransmits > 0) journal.violation(`${side?.name} sent ${retransmits} segments again for nothing`);
    }
  }

  #judgeSide(side: Side, other: Side | null, codes: readonly string[]): void {
    const { journal } = this.#world;
    const { tolerance } = this.options;
    for (const [what, end] of [
      ['reading', side.readEnd],
      ['writing', side.writeEnd],
    ] as const) {
      if (end === 'eof' || end === 'acknowledged' || end === 'closed' || codes.includes(end)) continue;
      // Two armies: whoever has all may be gone before it learns that the other knows.
      const delivered = other !== null && other.readEnd === 'eof' && other.read === side.written;
      if (what === 'writing' && end === 'ECONNRESET' && delivered && this.#world.forgetsEarly) continue;
      journal.violation(`${side.name}: ${what} ended with ${end}`);
    }
    const { rttMs } = side.flow.stats;
    if (!this.#measuresByEchoes && rttMs > this.#longestRtt()) {
      journal.violation(
        `${side.name}: a smoothed RTT of ${rttMs} ms, at most ${this.#longestRtt()} are possible`,
      );
    }
    if (other === null) return;
    if (side.read > other.written) {
      const pending = other.role.kind === 'stream' ? other.role.bytes : Infinity;
      if (side.read > pending)
        journal.violation(`${side.name} read ${side.read}, ${other.written} were written`);
    }
    if (side.readEnd === 'eof' && side.read < other.written && !tolerance.mayEndShort) {
      journal.violation(`${side.name} read ${side.read} up to the end, ${other.written} were written`);
    }
    if (side.writeEnd === 'acknowledged') {
      const { bytesAcked, sendQueue } = side.flow.stats;
      if (bytesAcked !== side.written || sendQueue !== 0) {
        journal.violation(`${side.name}: ${bytesAcked} bytes acked of ${side.written}, ${sendQueue} queued`);
      }
    }
  }

  /** An echo may be of the first copy, whose ACK was lost: such a sample has the time of all tries in it. */
  get #measuresByEchoes(): boolean {
    const { hosts } = this.#world;
    return [this.options.client, this.options.server].every((i) => hosts[i]!.plan.tcp.timestamps);
  }

  /** What no round trip can exceed: all delays at their worst, full queues, three seconds for ARP, and some. */
  #longestRtt(): number {
    const { hosts } = this.#world;
    let sum = 5000;
    for (const i of [this.options.client, this.options.server]) {
      const { line, tcp } = hosts[i]!.plan;
      for (const { delayMs = 0, jitterMs = 0, reorder, rateBps = Infinity, queueBytes = 0 } of [
        line.transmit,
        line.receive,
      ]) {
        sum += delayMs + jitterMs + (reorder?.delayMs ?? 0) + (queueBytes * 8000) / rateBps;
      }
      sum += tcp.delayedAckMs ?? 40;
    }
    return sum;
  }

  /** For a person who wants to know why it stands still. */
  describe(): string {
    const side = (which: Side | null): string =>
      which === null
        ? 'none'
        : `read ${which.read} (${which.readEnd}), wrote ${which.written} (${which.writeEnd}), ` +
          JSON.stringify(which.flow.stats);
    return `${this.options.name}: client ${side(this.client)}; server ${side(this.server)}`;
  }
}

/** How long a connect waits for an answer: the first SYN and six more, each twice as patient as the one before. */
function synPatienceMs({ maxRtoMs = 60_000 }: TcpOptions): number {
  let patience = 0;
  for (let tries = 0; tries < 7; tries++) patience += Math.min(1000 * 2 ** tries, maxRtoMs);
  return patience;
}

/** Stands for a server that will not be told. */
const NOBODY = {} as Flow;

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : `${error}`;
}
