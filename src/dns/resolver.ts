import type { IpAddress } from '../address/index.ts';
import { NetError, type NetErrorCode } from '../errors.ts';
import type { StackStatistics } from '../stack.ts';
import { interpret, MAX_CHAIN } from './answer.ts';
import { DnsCache, type Remembered } from './cache.ts';
import { Exchange, type ExchangeCounters, parseServer, type Server, type Transport } from './exchange.ts';
import { decode } from './message.ts';
import { candidates, normalize, reverseName } from './names.ts';
import type { DnsAnswer, DnsData, DnsType, Outcome } from './types.ts';

export interface ResolverOptions extends Transport {
  /** Addresses of the servers to ask, the best first; asked for with every question, since DHCP may change them. */
  readonly servers: () => readonly string[];
  readonly search?: () => readonly string[];
  /** Most answers that are remembered; 1000 by default. */
  readonly cacheEntries?: number;
}

/** The first wait for a server; doubled with every round. */
const TIMEOUT_MS = 1000;
const ROUNDS = 3;
const CACHE_ENTRIES = 1000;
const ABSENT = { data: [], ttl: 0, exists: false } as const;
/** Questions under way at once; more are refused, so that a loop of an application's fills no memory. */
const MAX_PENDING = 256;

/** A stub resolver (RFC 1034 §5.3.1): asks recursive servers, and remembers what they say. */
export class Resolver {
  readonly counters = {
    queries: 0,
    cacheHits: 0,
    /** Answers that are no sound messages, or that say that the server cannot tell. */
    failures: 0,
  };
  readonly cache: DnsCache;
  readonly #options: ResolverOptions;
  readonly #exchange: Exchange;
  readonly #exchanged: ExchangeCounters = {
    udpQueries: 0,
    tcpQueries: 0,
    mismatches: 0,
    truncated: 0,
    timeouts: 0,
  };
  readonly #pending = new Map<string, Promise<Remembered>>();
  /** The server that answered last; the next question begins with it. */
  #preferred: string | null = null;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.cache = new DnsCache(options.clock, options.cacheEntries ?? CACHE_ENTRIES);
    this.#exchange = new Exchange(options, this.#exchanged);
  }

  /** Whether there is anybody to ask. */
  get hasServers(): boolean {
    return this.#options.servers().length > 0;
  }

  /**
   * The addresses of a host, IPv4's first, the search list tried. Rejects with
   * `ENOTFOUND` where there are none, `ETIMEDOUT` if no server answers, `EAGAIN`
   * if those that do cannot tell, and the network's own errors.
   */
  async lookup(hostname: string, types: readonly ('A' | 'AAAA')[]): Promise<string[]> {
    for (const name of candidates(hostname, this.#options.search?.() ?? [])) {
      const answers = await Promise.allSettled(types.map((type) => this.#resolve(name, type)));
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value.data : []));
      if (found.length > 0) return found;
      // RFC 3484's old bug: a failure is not an absence, and another name is no substitute for it.
      for (const answer of answers) if (answer.status === 'rejected') throw answer.reason;
    }
    throw notFound(hostname);
  }

  /** The records of one type under `name` itself, aliases followed. Rejects as {@link lookup}. */
  async query<T extends DnsType>(name: string, type: T): Promise<readonly DnsData[T][]> {
    const bare = normalize(name);
    const { data } = bare === null ? ABSENT : await this.#resolve(bare, type);
    if (data.length === 0) throw notFound(name);
    return data as readonly DnsData[T][];
  }

  /** As {@link query}, but an absence is an answer, and times are told. */
  find<T extends DnsType>(name: string, type: T): Promise<DnsAnswer<T>> {
    const bare = normalize(name);
    return bare === null ? Promise.resolve(ABSENT) : this.#resolve(bare, type);
  }

  /** The names of an address. */
  reverse(address: IpAddress): Promise<readonly string[]> {
    return this.query(reverseName(address), 'PTR');
  }

  statistics(): StackStatistics {
    return { ...this.counters, ...this.#exchanged, cached: this.cache.size };
  }

  async #resolve<T extends DnsType>(name: string, type: T): Promise<DnsAnswer<T>> {
    let owner = name;
    let ttl = Number.POSITIVE_INFINITY;
    for (let length = 0; length < MAX_CHAIN; length++) {
      const outcome = await this.#outcome(owner, type);
      ttl = Math.min(ttl, outcome.ttl);
      if (outcome.kind === 'records') return { data: outcome.data, ttl, exists: true };
      if (outcome.kind === 'absent') return { data: [], ttl, exists: outcome.exists };
      const target = normalize(outcome.target);
      if (target === null) return ABSENT;
      owner = target;
    }
    return ABSENT;
  }

  #outcome<T extends DnsType>(name: string, type: T): Promise<Exclude<Outcome<T>, { kind: 'failure' }>> {
    type Kept = Exclude<Outcome<T>, { kind: 'failure' }>;
    const known = this.cache.get(name, type);
    if (known !== null) {
      this.counters.cacheHits++;
      return Promise.resolve(known);
    }
    // RFC 5452 §5: the same question twice at once would double the chance to guess.
    const key = `${type} ${name}`;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending as Promise<Kept>;
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(failed('EAGAIN', name, `${MAX_PENDING} questions are under way`));
    }
    const asked = this.#ask(name, type).finally(() => this.#pending.delete(key));
    this.#pending.set(key, asked);
    return asked as Promise<Kept>;
  }

  async #ask(name: string, type: DnsType): Promise<Remembered> {
    this.counters.queries++;
    let last: unknown = notFound(name);
    let servers = this.#servers();
    for (let round = 0; round < ROUNDS && servers.length > 0; round++) {
      const silent: string[] = [];
      for (const server of servers) {
        try {
          const outcome = await this.#askServer(parseServer(server), name, type, TIMEOUT_MS << round);
          this.#preferred = server;
          this.cache.set(name, type, outcome);
          return outcome;
        } catch (error) {
          last = error;
          // One that says that it cannot is not asked again.
          if (error instanceof NetError && error.code === 'ETIMEDOUT') silent.push(server);
        }
      }
      servers = silent;
    }
    throw inLookup(last, name);
  }

  async #askServer(server: Server, name: string, type: DnsType, timeoutMs: number): Promise<Remembered> {
    for (const edns of [true, false]) {
      const bytes = await this.#exchange.ask(server, { name, type }, timeoutMs, edns);
      const message = decode(bytes);
      const outcome = message === null ? null : interpret(message, name, type);
      if (outcome !== null && outcome.kind !== 'failure') return outcome;
      this.counters.failures++;
      // RFC 6891 §7: one that knows no EDNS says that the question is malformed, or not implemented.
      const mayLackEdns = outcome?.rcode === 'FORMERR' || outcome?.rcode === 'NOTIMP';
      if (!mayLackEdns || !edns) {
        throw failed('EAGAIN', name, `${server.host} answers ${outcome?.rcode ?? 'what is no DNS message'}`);
      }
    }
    throw failed('EAGAIN', name, `${server.host} does not answer`);
  }

  #servers(): readonly string[] {
    const servers = this.#options.servers();
    const preferred = this.#preferred;
    if (preferred === null || !servers.includes(preferred)) return servers;
    return [preferred, ...servers.filter((server) => server !== preferred)];
  }
}

function notFound(name: string): NetError {
  return new NetError('ENOTFOUND', { syscall: 'getaddrinfo', address: name });
}

function failed(code: NetErrorCode, name: string, reason: string): NetError {
  return new NetError(code, { syscall: 'getaddrinfo', address: name, reason });
}

function inLookup(error: unknown, name: string): unknown {
  if (!(error instanceof NetError) || error.syscall === 'getaddrinfo') return error;
  return new NetError(error.code, {
    syscall: 'getaddrinfo',
    address: name,
    reason: error.message,
    cause: error,
  });
}
