import { IpAddress, type Prefix } from '../address/index.ts';
import type { DnsData, DnsType } from '../dns/index.ts';
import { reverseName } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import { isLinkLocal } from '../ipv6/index.ts';
import type { StackStatistics, UdpSocket } from '../stack.ts';
import type { Clock, Random, TimerWheel } from '../time/index.ts';
import { decode, type MdnsRecord } from './message.ts';
import { Querier } from './querier.ts';
import { type MdnsSender, Responder } from './responder.ts';

const PORT = 5353;
const GROUPS = { IPv4: '224.0.0.251', IPv6: 'ff02::fb' } as const;
/** RFC 6762 §11. */
const HOP_LIMIT = 255;
/** §10: seconds; those that hold an address or a host's name, and the others. */
const HOST_TTL_S = 120;
const OTHER_TTL_S = 4500;
/** RFC 1035 §2.3.4. */
const MAX_LABEL = 63;
/** How long `resolve` waits for answers. */
const ONE_SHOT_MS = 1500;
/** After a first answer, others of the same question get this long. */
const GATHER_MS = 50;

export interface MdnsService {
  /** For people: `Office printer`. */
  readonly name: string;
  /** `_http._tcp`. */
  readonly type: string;
  readonly port: number;
  /** `key=value` strings (RFC 6763 §6). */
  readonly txt?: readonly string[];
}

export interface MdnsOptions {
  /** Our name without `.local`; `mirage-` and the MAC address by default. Where another has it, a number is added. */
  readonly hostname?: string;
  /** Services that are announced with it (RFC 6763). */
  readonly services?: readonly MdnsService[];
  /** Told our name when it is ours, and again when another had to be taken. */
  readonly onName?: (name: string) => void;
}

export interface MdnsHost {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  readonly interfaceName: string;
  /** A socket for the port of multicast DNS on the interface. */
  bind(port: number): UdpSocket;
  /** The families of the interface. */
  readonly families: readonly ('IPv4' | 'IPv6')[];
  /** Its addresses with their prefixes, those that may be used. */
  addresses(): readonly Prefix[];
  readonly defaultName: string;
}

/** Multicast DNS of one interface (RFC 6762, and RFC 6763 for services): asks and answers. */
export class Mdns {
  readonly #host: MdnsHost;
  readonly #options: MdnsOptions;
  readonly #querier: Querier;
  readonly #responder: Responder;
  #socket: UdpSocket | null = null;
  #label: string;
  #attempt = 1;
  /** Labels of services, by their place in the options. */
  readonly #instances: string[];
  #inErrors = 0;
  #updating = false;

  constructor(host: MdnsHost, options: MdnsOptions) {
    this.#host = host;
    this.#options = options;
    this.#label = options.hostname ?? host.defaultName;
    if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(this.#label)) {
      throw new TypeError(`not a host name of one label: ${this.#label}`);
    }
    const services = options.services ?? [];
    for (const service of services) checkService(service);
    this.#instances = services.map(({ name }) => name);
    const { clock, timers, random } = host;
    this.#querier = new Querier({ clock, timers, random, send: (message) => this.#send(message) });
    this.#responder = new Responder({
      clock,
      timers,
      random,
      send: (message, to) => this.#send(message, to),
      records: () => this.#records(),
      rename: (name) => this.#rename(name),
      established: () => options.onName?.(this.hostname),
    });
  }

  /** Our name, with `.local`. */
  get hostname(): string {
    return `${this.#label}.local`;
  }

  /** Whether the names have been found to be ours, and were announced. */
  get isReady(): boolean {
    return this.#responder.state === 'ready' || this.#responder.state === 'announcing';
  }

  /** Joins the groups and begins to probe. */
  start(): void {
    const socket = this.#host.bind(PORT);
    const options = { interface: this.#host.interfaceName };
    for (const family of this.#host.families) socket.addMembership(GROUPS[family], options);
    socket.setMulticastTtl(HOP_LIMIT);
    // What we have said ourselves is no news.
    socket.setMulticastLoopback(false);
    this.#socket = socket;
    void this.#receive(socket);
    this.#responder.start();
  }

  /** Addresses may have been taken or given up. */
  addressesChanged(): void {
    if (this.#updating || this.#socket === null) return;
    this.#updating = true;
    this.#host.clock.defer(() => {
      this.#updating = false;
      this.#responder.update();
    });
  }

  /** Says goodbye. */
  async close(): Promise<void> {
    this.#responder.stop();
    this.#querier.close();
    await this.#socket?.close();
    this.#socket = null;
  }

  /**
   * The addresses of a name in `.local`, of the given types: from what is known, or
   * from who answers within {@link ONE_SHOT_MS}. Rejects with `ENOTFOUND`.
   */
  async lookup(hostname: string, types: readonly ('A' | 'AAAA')[]): Promise<string[]> {
    const name = bare(hostname);
    if (name === this.hostname.toLowerCase()) {
      const own = this.#host.addresses().map(({ address }) => address);
      const wanted = own.filter((address) => types.includes(address.isIpv4 ? 'A' : 'AAAA'));
      if (wanted.length > 0) return wanted.map(String);
    }
    const answers = await Promise.all(types.map((type) => this.#ask(name, type)));
    const found = answers.flat();
    if (found.length === 0) throw new NetError('ENOTFOUND', { syscall: 'getaddrinfo', address: hostname });
    return found;
  }

  /** The records of one type under `name`, as {@link lookup}. */
  async query<T extends DnsType>(name: string, type: T): Promise<DnsData[T][]> {
    const found = await this.#ask(bare(name), type);
    if (found.length === 0) throw new NetError('ENOTFOUND', { syscall: 'query', address: name });
    return found;
  }

  /**
   * Goes on asking for the records of one type under `name`, such as the `PTR`s of
   * `_http._tcp.local`, and tells `listener` all of them whenever they change.
   * Returns what ends it. Throws `ENOBUFS` where too much is asked already.
   */
  watch<T extends DnsType>(name: string, type: T, listener: (data: DnsData[T][]) => void): () => void {
    const key = bare(name);
    let last = '[]';
    const look = (): void => {
      const data = this.#querier.known(key, type);
      const text = JSON.stringify(data);
      if (text === last) return;
      last = text;
      listener(data);
    };
    const end = this.#querier.want(key, type, look);
    if (end === null) throw new NetError('ENOBUFS', { syscall: 'query', address: name });
    this.#host.clock.defer(look);
    return end;
  }

  statistics(): StackStatistics {
    return {
      name: this.hostname,
      state: this.#responder.state,
      ...this.#responder.counters,
      queriesSent: this.#querier.counters.queries,
      knownAnswers: this.#querier.counters.knownAnswers,
      responses: this.#querier.counters.responses,
      cached: this.#querier.cache.size,
      inErrors: this.#inErrors,
    };
  }

  #ask<T extends DnsType>(name: string, type: T): Promise<DnsData[T][]> {
    const { clock } = this.#host;
    const known = this.#querier.known(name, type);
    if (known.length > 0) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      let gathering = false;
      const alarm = clock.alarm(() => {
        end?.();
        resolve(this.#querier.known(name, type));
      });
      alarm.set(clock.now() + ONE_SHOT_MS);
      const end = this.#querier.want(name, type, () => {
        if (gathering || this.#querier.known(name, type).length === 0) return;
        gathering = true;
        alarm.set(clock.now() + GATHER_MS);
      });
      if (end === null) {
        alarm.clear();
        reject(
          new NetError('EAGAIN', { syscall: 'getaddrinfo', address: name, reason: 'too many questions' }),
        );
      }
    });
  }

  async #receive(socket: UdpSocket): Promise<void> {
    for await (const { data, remote } of socket) {
      const message = decode(data);
      // §11: only from the link itself; §6: responses come from the port alone.
      const sound = message !== null && this.#isOnLink(remote.address);
      if (!sound || (message.isResponse && remote.port !== PORT)) {
        this.#inErrors++;
      } else if (message.isResponse) {
        this.#querier.hear(message);
        this.#responder.hear(message);
      } else {
        this.#querier.overhear(message);
        this.#responder.query(message, remote);
      }
    }
  }

  #isOnLink(text: string): boolean {
    // A link-local address has its zone behind it.
    const address = IpAddress.parse(text.replace(/%.*/, ''));
    if (!address.isIpv4 && isLinkLocal(address)) return true;
    return this.#host.addresses().some((prefix) => prefix.contains(address));
  }

  #send(message: Uint8Array, to?: MdnsSender): void {
    const socket = this.#socket;
    if (socket === null) return;
    // What cannot be sent is said again, or asked for again.
    const ignore = (): void => {};
    if (to !== undefined) {
      socket.send(message, { host: to.address, port: to.port }).catch(ignore);
      return;
    }
    for (const family of this.#host.families) {
      if (!this.#host.addresses().some(({ address }) => address.family === family)) continue;
      socket.send(message, { host: GROUPS[family], port: PORT }).catch(ignore);
    }
  }

  #records(): MdnsRecord[] {
    const name = this.hostname;
    const records: MdnsRecord[] = [];
    for (const { address } of this.#host.addresses()) {
      records.push(addressRecord(name, address));
      const reverse = reverseName(address);
      records.push({ name: reverse, type: 'PTR', data: name, ttl: HOST_TTL_S, unique: true });
    }
    const services = this.#options.services ?? [];
    services.forEach(({ type, port, txt = [] }, i) => {
      const service = `${type}.local`;
      const instance = `${this.#instances[i]}.${service}`;
      const srv = { priority: 0, weight: 0, port, target: name };
      // RFC 6763 §6.1: at least one string, be it empty.
      const data = txt.length === 0 ? [''] : [...txt];
      records.push(
        { name: service, type: 'PTR', data: instance, ttl: OTHER_TTL_S, unique: false },
        { name: instance, type: 'SRV', data: srv, ttl: HOST_TTL_S, unique: true },
        { name: instance, type: 'TXT', data, ttl: OTHER_TTL_S, unique: true },
        // RFC 6763 §9.
        { name: '_services._dns-sd._udp.local', type: 'PTR', data: service, ttl: OTHER_TTL_S, unique: false },
      );
    });
    return records;
  }

  /** RFC 6762 §9: another name of the same kind. */
  #rename(name: string): void {
    const services = this.#options.services ?? [];
    const at = services.findIndex(
      ({ type }, i) => `${this.#instances[i]}.${type}.local`.toLowerCase() === name,
    );
    this.#attempt++;
    if (at >= 0) this.#instances[at] = `${services[at]!.name} (${this.#attempt})`;
    else {
      const suffix = `-${this.#attempt}`;
      const name = this.#options.hostname ?? this.#host.defaultName;
      this.#label = `${name.slice(0, MAX_LABEL - suffix.length)}${suffix}`;
    }
  }
}

function addressRecord(name: string, address: IpAddress): MdnsRecord {
  const data = address.toString();
  return { name, type: address.isIpv4 ? 'A' : 'AAAA', data, ttl: HOST_TTL_S, unique: true };
}

function bare(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

function checkService({ name, type, port }: MdnsService): void {
  if (!/^_[a-z0-9-]{1,15}\._(?:tcp|udp)$/i.test(type)) {
    throw new TypeError(`not a service type such as _http._tcp: ${type}`);
  }
  if (name.length === 0 || new TextEncoder().encode(name).length > 57 || name.includes('.')) {
    throw new TypeError(`a service's name has 1 to 57 bytes, and no dots here: ${name}`);
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new TypeError(`no port: ${port}`);
}
