import { usesCookies } from './conditions.ts';
import { Conversation, codeOf, NOTHING_ELSE, type Tolerance } from './conversation.ts';
import type { Draw } from './draw.ts';
import { Pattern, streamKey } from './pattern.ts';
import type { Ending, ExchangeRole, Pause, Role, StreamRole } from './side.ts';
import type { World } from './world.ts';

/** Data segments that one direction of a bulk transfer takes at most: what a seed may cost. */
const MOST_SEGMENTS = 5000;
const SILENT = ['ETIMEDOUT', 'EHOSTUNREACH'];

/** What a seed makes happen: conversations, and what goes on beside them. */
export class Script {
  readonly others: (() => Promise<void>)[] = [];
  readonly #world: World;
  readonly #draw: Draw;
  readonly #ideal: boolean;
  #port = 1000;
  /** Hosts that will go dark or close: only who expects it talks to them. */
  #doomed = -1;
  #doomedBy: 'cut' | 'close' = 'cut';
  #doomedAt = 0;
  #outage = false;

  constructor(world: World, draw: Draw, ideal: boolean) {
    this.#world = world;
    this.#draw = draw;
    this.#ideal = ideal;
  }

  write(): void {
    const draw = this.#draw;
    const { hosts } = this.#world;
    if (this.#ideal) {
      this.#bulk(draw.pick(['both', 'one way']));
      if (draw.chance(0.5)) this.#exchanges(draw.integer(1, 5));
      return;
    }
    if (hosts.length > 2 && draw.chance(0.35)) this.#doom(hosts.length - 1);
    if (draw.chance(0.2)) this.#interrupt();
    const kinds = draw.integer(1, 3);
    for (let i = 0; i < kinds; i++) {
      draw.pick([
        () => this.#bulk('both'),
        () => this.#bulk('one way'),
        () => this.#trickle(),
        () => this.#slowReader(),
        () => this.#exchanges(draw.integer(3, 25)),
        () => this.#exchanges(1),
        () => this.#simultaneousOpen(),
        () => this.#aborts(draw.integer(1, 6)),
        () => this.#refused(),
        () => this.#closingListener(draw.integer(3, 20)),
        () => this.#idle(),
        () => this.#datagrams(),
        () => this.#givesUpConnecting(),
      ])();
    }
    if (this.#doomed >= 0) this.#withDoomed(draw.integer(1, 4));
  }

  // ---------------------------------------------------------------- who and where

  #pair(): [client: number, server: number] {
    const draw = this.#draw;
    const sound = this.#world.hosts.map((_, i) => i).filter((i) => i !== this.#doomed);
    const client = draw.pick(sound);
    const server = draw.pick(sound.filter((i) => i !== client));
    return [client, server];
  }

  /** A port of its own for each scenario. */
  #nextPort(): number {
    return this.#port++;
  }

  #listen(host: number, port: number, backlog?: number): void {
    const { stack } = this.#world.hosts[host]!;
    this.others.push(async () => {
      await stack.tcp.listen({ port, ...(backlog === undefined ? {} : { backlog }) }, this.#world.accept);
    });
  }

  #add(options: {
    readonly name: string;
    readonly client: number;
    readonly server: number;
    readonly port: number;
    readonly clientRole: Role;
    readonly serverRole: Role;
    readonly localPort?: number;
    readonly connectAfterMs?: number;
    readonly tolerance?: Partial<Tolerance>;
    readonly simultaneous?: boolean;
    readonly patienceMs?: number;
    readonly limitMs?: number;
    readonly mayRetransmit?: boolean;
  }): void {
    const outage = this.#outage ? { connect: SILENT } : {};
    const cookies = usesCookies(this.#world.hosts[options.server]!.plan.tcp);
    // One end may be brought back by a cookie when the other is gone: it finds out, but late.
    const patienceMs = cookies ? 1_500_000 : (options.patienceMs ?? this.#patience());
    const keepAlive = cookies ? { keepAlive: true } : {};
    const { connectAfterMs = 0, ...rest } = options;
    const tolerance = this.#withCookies({ ...NOTHING_ELSE, ...outage, ...options.tolerance }, options.server);
    this.#world.conversations.push(
      new Conversation(this.#world, {
        ...rest,
        clientRole: { ...rest.clientRole, ...keepAlive },
        serverRole: { ...rest.serverRole, ...keepAlive },
        connectAfterMs,
        patienceMs,
        tolerance,
      }),
    );
  }

  /** Data that overtakes the ACK with the cookie is refused (RFC 9293 §3.10.7.2), which ends the connection. */
  #withCookies(tolerance: Tolerance, server: number): Tolerance {
    if (!usesCookies(this.#world.hosts[server]!.plan.tcp)) return tolerance;
    return {
      ...tolerance,
      client: [...tolerance.client, 'ECONNRESET', 'ETIMEDOUT'],
      server: [...tolerance.server, 'ECONNRESET', 'ETIMEDOUT'],
      mayMissServer: true,
    };
  }

  /** Eight times the longest time between two tries; with an outage and pauses on top. */
  #patience(): number {
    const slowest = Math.max(...this.#world.hosts.map(({ plan }) => plan.tcp.maxRtoMs ?? 60_000));
    return 8 * slowest + 60_000;
  }

  // ---------------------------------------------------------------- roles

  #common(): { startMs: number; noDelay: boolean | null; keepAlive: boolean } {
    const draw = this.#draw;
    return {
      startMs: draw.chance(0.3) ? draw.magnitude(1, 3000) : 0,
      noDelay: draw.chance(0.5) ? null : draw.chance(0.5),
      keepAlive: draw.chance(0.3),
    };
  }

  #stream(bytes: number, change: Partial<StreamRole> = {}): Role {
    const draw = this.#draw;
    const kind = draw.pick(['large', 'large', 'middle', 'mixed']);
    const chunks =
      kind === 'large'
        ? [draw.magnitude(4000, 200_000)]
        : kind === 'middle'
          ? [draw.magnitude(200, 4000)]
          : Array.from({ length: 7 }, () => draw.magnitude(1, 20_000));
    return {
      kind: 'stream',
      bytes,
      chunks,
      vector: draw.chance(0.3) ? draw.integer(2, 8) : 1,
      waits: draw.chance(0.85),
      writePauses: this.#ideal ? [] : this.#pauses(bytes, 0.3),
      readPauses: [],
      shutdown: 'eager',
      ending: { kind: 'orderly' },
      ...this.#common(),
      ...change,
    };
  }

  #pauses(bytes: number, chance: number): Pause[] {
    const draw = this.#draw;
    if (bytes === 0 || !draw.chance(chance)) return [];
    return Array.from({ length: draw.integer(1, 4) }, () => ({
      at: draw.integer(0, bytes),
      ms: draw.magnitude(1, 10_000),
    })).sort((a, b) => a.at - b.at);
  }

  #mss(...hosts: number[]): number {
    return Math.min(
      ...hosts.map((i) => {
        const { line, tcp } = this.#world.hosts[i]!.plan;
        const headers = this.#world.family === 'IPv4' ? 40 : 60;
        return Math.min(line.mtu - headers, tcp.maxSegment ?? 65_535);
      }),
    );
  }

  /** Bytes that cost no more than a seed may, and no more than some hundred windows. */
  #volume(client: number, server: number): number {
    const windows = [client, server].map((i) => {
      const { receiveBuffer = 1 << 20, sendBuffer = 1 << 20 } = this.#world.hosts[i]!.plan.tcp;
      return Math.min(receiveBuffer, sendBuffer);
    });
    const most = Math.min(this.#mss(client, server) * MOST_SEGMENTS, Math.min(...windows) * 300);
    return this.#draw.magnitude(2000, Math.max(4000, most));
  }

  // ---------------------------------------------------------------- scenarios

  #bulk(ways: 'both' | 'one way'): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    this.#listen(server, port);
    const up = this.#volume(client, server);
    const down = ways === 'both' ? this.#volume(client, server) : 0;
    const lazy = draw.chance(0.3);
    this.#add({
      name: `bulk ${port}`,
      client,
      server,
      port,
      clientRole: this.#stream(up),
      serverRole: this.#stream(down, { shutdown: lazy ? 'lazy' : 'eager' }),
      ...(this.#ideal ? this.#idealCourse(client, server, up, down) : {}),
    });
  }

  /** What an ideal line may take at most: some windows' round trips each way, with a delayed ACK in each; and nothing is sent twice. */
  #idealCourse(
    client: number,
    server: number,
    up: number,
    down: number,
  ): { limitMs: number; mayRetransmit: boolean } {
    const { hosts } = this.#world;
    const plans = [client, server].map((i) => hosts[i]!.plan);
    const rttMs = plans.reduce(
      (sum, { line }) => sum + (line.transmit.delayMs ?? 0) + (line.receive.delayMs ?? 0),
      0,
    );
    const window = Math.min(
      65_535,
      ...plans.flatMap(({ tcp }) => [tcp.receiveBuffer ?? 65_535, tcp.sendBuffer ?? 65_535]),
    );
    const worst = Math.max(...plans.map(({ tcp }) => tcp.delayedAckMs ?? 40));
    return {
      limitMs: 20_000 + 4 * (rttMs + worst) * (20 + (2 * (up + down)) / window),
      // The least RTO is not above so late an ACK.
      mayRetransmit: worst >= 200,
    };
  }

  /** Bytes one by one, and in little pieces. */
  #trickle(): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    this.#listen(server, port);
    const bytes = draw.integer(20, 400);
    const chunks = draw.pick([[1], [1, 2, 3], [10, 1, 1]]);
    const role = (): Role =>
      this.#stream(bytes, {
        chunks,
        vector: draw.pick([1, 1, 3]),
        waits: draw.chance(0.5),
        writePauses: Array.from({ length: draw.integer(0, 20) }, (_, i) => ({
          at: i + 1,
          ms: draw.magnitude(1, 500),
        })),
      });
    this.#add({ name: `trickle ${port}`, client, server, port, clientRole: role(), serverRole: role() });
  }

  /** Reading stops for seconds: the window closes. */
  #slowReader(): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    this.#listen(server, port);
    const volume = this.#volume(client, server);
    const pauses = (): Pause[] =>
      Array.from({ length: draw.integer(1, 6) }, () => ({
        at: draw.integer(0, volume),
        ms: draw.magnitude(100, 30_000),
      })).sort((a, b) => a.at - b.at);
    this.#add({
      name: `slow reader ${port}`,
      client,
      server,
      port,
      clientRole: this.#stream(volume, draw.chance(0.5) ? { readPauses: pauses() } : {}),
      serverRole: this.#stream(draw.chance(0.5) ? volume : 0, { readPauses: pauses() }),
    });
  }

  #exchangeRoles(): [Role, Role] {
    const draw = this.#draw;
    const first = draw.pick(['client', 'server', 'both']);
    const exchange = (asks: boolean): ExchangeRole => ({
      ...shared,
      asks,
      closesFirst: first !== (asks ? 'server' : 'client'),
    });
    const shared: Omit<ExchangeRole, 'asks' | 'closesFirst'> = {
      kind: 'exchange',
      rounds: draw.chance(0.7) ? 1 : draw.integer(0, 8),
      request: draw.magnitude(1, 3000),
      response: draw.magnitude(1, 20_000),
      ending: { kind: 'orderly' },
    };
    const none = { startMs: 0, noDelay: null, keepAlive: false };
    return [
      { ...exchange(true), ...none },
      { ...exchange(false), ...none },
    ];
  }

  /** Short connections, all at once or one by one. */
  #exchanges(count: number): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    this.#listen(server, port);
    const spreadMs = draw.pick([0, 10, 1000, 30_000]);
    for (let i = 0; i < count; i++) {
      const [clientRole, serverRole] = this.#exchangeRoles();
      this.#add({
        name: `exchange ${port}/${i}`,
        client,
        server,
        port,
        clientRole,
        serverRole,
        connectAfterMs: spreadMs === 0 ? 0 : draw.integer(0, spreadMs),
      });
    }
  }

  #simultaneousOpen(): void {
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    const volume = this.#volume(client, server);
    this.#add({
      name: `simultaneous ${port}`,
      client,
      server,
      port,
      localPort: port + 20_000,
      simultaneous: true,
      clientRole: this.#stream(volume),
      serverRole: this.#stream(this.#draw.chance(0.5) ? volume : 0),
    });
  }

  #aborts(count: number): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    this.#listen(server, port);
    for (let i = 0; i < count; i++) {
      const kind = draw.pick(['abort', 'leave'] as const);
      const ending: Ending = { kind, afterMs: draw.magnitude(1, 5000) - 1 };
      const byClient = draw.chance(0.5);
      const role = (ends: boolean): Role => ({
        ...this.#stream(this.#volume(client, server), { ending: ends ? ending : { kind: 'orderly' } }),
        startMs: 0,
        keepAlive: true,
      });
      const own = ['ECONNABORTED', 'EPIPE', 'ECONNRESET'];
      const others = ['ECONNRESET', 'EPIPE'];
      this.#add({
        name: `${kind} ${port}/${i} by ${byClient ? 'client' : 'server'}`,
        client,
        server,
        port,
        clientRole: role(byClient),
        serverRole: role(!byClient),
        tolerance: {
          client: byClient ? own : others,
          server: byClient ? others : own,
          mayEndShort: true,
          mayMissServer: byClient,
        },
      });
    }
  }

  #refused(): void {
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    const { clock, journal, hosts } = this.#world;
    const connectAfterMs = this.#draw.integer(0, 500);
    const outage = this.#outage;
    this.others.push(async () => {
      await clock.sleep(connectAfterMs);
      const from = clock.now();
      try {
        const flow = await hosts[client]!.stack.tcp.connect({ host: hosts[server]!.text, port });
        journal.violation(`connected to the closed port ${port}`);
        flow.abort();
      } catch (error) {
        const code = codeOf(error);
        journal.event(`connect to the closed port ${port}: ${code}`);
        const silent = SILENT.includes(code) && (outage || clock.now() - from > 2900);
        if (code !== 'ECONNREFUSED' && !silent) journal.violation(`a closed port answers with ${code}`);
      }
    });
  }

  /** A listener that closes while connections come in. */
  #closingListener(count: number): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    const closeAt = draw.integer(1, 2000);
    const backlog = draw.pick([1, 2, 511]);
    const { clock, hosts, accept, journal } = this.#world;
    this.others.push(async () => {
      const listener = await hosts[server]!.stack.tcp.listen({ port, backlog }, accept);
      await clock.sleep(closeAt);
      await listener.close();
      journal.event(`listener ${port} closed`);
    });
    for (let i = 0; i < count; i++) {
      const [clientRole, serverRole] = this.#exchangeRoles();
      this.#add({
        name: `late ${port}/${i}`,
        client,
        server,
        port,
        clientRole: { ...clientRole, keepAlive: true },
        serverRole,
        connectAfterMs: draw.integer(0, 2 * closeAt),
        tolerance: {
          connect: ['ECONNREFUSED', 'ECONNRESET', ...(this.#outage ? SILENT : [])],
          client: ['ECONNRESET', 'EPIPE'],
          mayMissServer: true,
        },
      });
    }
  }

  /** Nothing to say for minutes; keep-alive probes find a living peer. */
  #idle(): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const port = this.#nextPort();
    this.#listen(server, port);
    const pause = draw.magnitude(60_000, 400_000);
    const role = (): Role => ({
      ...this.#stream(2000, { chunks: [1000], waits: true, writePauses: [{ at: 1000, ms: pause }] }),
      startMs: 0,
      // An outage is what keep-alive is to find.
      keepAlive: !this.#outage && draw.chance(0.7),
    });
    this.#add({
      name: `idle ${port}`,
      client,
      server,
      port,
      clientRole: role(),
      serverRole: role(),
      patienceMs: this.#patience() + pause,
    });
  }

  /** A connect that is given up while it is on its way, to a host that is there or to nobody. */
  #givesUpConnecting(): void {
    const draw = this.#draw;
    const [client] = this.#pair();
    const { clock, journal, hosts } = this.#world;
    const timeoutMs = draw.integer(1, 2500);
    this.others.push(async () => {
      const from = clock.now();
      try {
        const flow = await hosts[client]!.stack.tcp.connect({
          host: this.#world.address(250),
          port: 9,
          timeoutMs,
        });
        journal.violation('connected to nobody');
        flow.abort();
      } catch (error) {
        const code = codeOf(error);
        const took = clock.now() - from;
        if (code !== 'ETIMEDOUT' || Math.abs(took - timeoutMs) > 1) {
          journal.violation(`a connect with timeoutMs ${timeoutMs} ends after ${took} ms with ${code}`);
        }
      }
    });
    this.others.push(async () => {
      const from = clock.now();
      try {
        const flow = await hosts[client]!.stack.tcp.connect({ host: this.#world.address(251), port: 9 });
        journal.violation('connected to nobody');
        flow.abort();
      } catch (error) {
        const code = codeOf(error);
        const took = clock.now() - from;
        if (code !== 'EHOSTUNREACH' || took > 5000)
          journal.violation(`nobody answers after ${took} ms: ${code}`);
      }
    });
  }

  /** UDP beside it: what comes is what was sent. */
  #datagrams(): void {
    const draw = this.#draw;
    const [client, server] = this.#pair();
    const { clock, journal, hosts } = this.#world;
    const port = this.#nextPort();
    // Flipped bits in two fragments of one datagram can make up for each other in its checksum.
    const damaged = [client, server].some((i) => (hosts[i]!.plan.line.transmit.corrupt ?? 0) > 0);
    const sizes = Array.from({ length: draw.integer(3, 30) }, () =>
      draw.magnitude(4, damaged ? 500 : 12_000),
    );
    const lastsMs = draw.integer(1, 3000);
    this.others.push(async () => {
      const socket = await hosts[server]!.stack.udp.bind({ port });
      const sender = await hosts[client]!.stack.udp.bind();
      const check = (data: Uint8Array, where: string): void => {
        const id = data.length < 4 ? -1 : data[0]! * 256 + data[1]!;
        const good =
          sizes[id] === data.length && new Pattern(streamKey(port, id)).mismatch(data.subarray(2), 0) < 0;
        if (!good) journal.violation(`${where} received a datagram that nobody sent (${data.length} bytes)`);
      };
      const echo = async (): Promise<void> => {
        for await (const { data, remote } of socket) {
          check(data, 'the echo server');
          await socket.send(data, { host: remote.address, port: remote.port }).catch(checkUdpError);
        }
      };
      const listen = async (): Promise<void> => {
        for await (const { data } of sender) check(data, 'the client');
      };
      const checkUdpError = (error: unknown): void => {
        const code = codeOf(error);
        if (!['EHOSTUNREACH', 'ECONNREFUSED', 'ENETUNREACH', 'EPIPE', 'ENOTCONN', 'ENOBUFS'].includes(code)) {
          journal.violation(`a datagram fails with ${code}: ${String(error)}`);
        }
      };
      const running = [echo(), listen()];
      for (const [id, size] of sizes.entries()) {
        const data = new Uint8Array(size);
        data[0] = id >>> 8;
        data[1] = id & 255;
        data.set(new Pattern(streamKey(port, id)).bytes(0, size - 2), 2);
        await sender.send(data, { host: hosts[server]!.text, port }).catch(checkUdpError);
        await clock.sleep(draw.magnitude(1, 200) - 1);
      }
      await clock.sleep(lastsMs);
      await Promise.all([sender.close(), socket.close(), ...running]);
    });
  }

  // ---------------------------------------------------------------- misfortunes

  /** A line that is dead for some seconds. */
  #interrupt(): void {
    const draw = this.#draw;
    const [host] = this.#pair();
    this.#outage = true;
    const atMs = draw.magnitude(1, 5000);
    // Short enough that a half-open connection lives through it.
    const impatient = this.#world.hosts.some(({ plan }) => plan.tcp.maxRtoMs !== undefined);
    const forMs = draw.magnitude(50, impatient ? 8000 : 30_000);
    this.others.push(() => this.#world.cut(host, atMs, forMs));
    this.#world.hosts[host]!.lossy = true;
  }

  /** A host that goes dark, or whose stack closes, in the middle. */
  #doom(host: number): void {
    const draw = this.#draw;
    this.#doomed = host;
    this.#doomedBy = draw.pick(['cut', 'close']);
    this.#doomedAt = draw.magnitude(1, 5000);
    const atMs = this.#doomedAt;
    if (this.#doomedBy === 'cut') this.others.push(() => this.#world.cut(host, atMs, Infinity));
    else this.others.push(() => this.#world.closeStack(host, atMs));
  }

  #withDoomed(count: number): void {
    const draw = this.#draw;
    const doomed = this.#doomed;
    for (let i = 0; i < count; i++) {
      const [partner] = this.#pair();
      const isClient = draw.chance(0.5);
      const client = isClient ? doomed : partner;
      const server = isClient ? partner : doomed;
      const port = this.#nextPort();
      this.#listen(server, port);
      const role = (): Role => ({
        ...this.#stream(this.#volume(client, server), {
          // Some are in the middle of it, some are idle.
          writePauses: this.#pauses(2000, 0.7),
          readPauses: this.#pauses(2000, 0.3),
        }),
        startMs: 0,
        keepAlive: true,
      });
      const closing = this.#doomedBy === 'close';
      const own = ['ECONNABORTED', 'EPIPE', 'ECONNRESET', 'ENETDOWN', 'ETIMEDOUT', 'EHOSTUNREACH'];
      const theirs = closing ? ['ECONNRESET', 'EPIPE', ...SILENT] : SILENT;
      this.#add({
        name: `doomed ${port} (${this.#doomedBy})`,
        client,
        server,
        port,
        clientRole: role(),
        serverRole: role(),
        connectAfterMs: draw.integer(0, 2 * this.#doomedAt),
        tolerance: {
          connect: closing ? [...own, 'ECONNREFUSED'] : SILENT,
          client: isClient && closing ? own : theirs,
          server: !isClient && closing ? own : theirs,
          mayEndShort: closing,
          mayMissServer: true,
        },
        // Fifteen retransmissions, the last ten or so a minute apart.
        patienceMs: 1_500_000,
      });
    }
  }
}
