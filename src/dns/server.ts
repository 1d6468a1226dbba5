import packet from 'dns-packet';
import { set16 } from '../bytes/index.ts';
import type { Flow, Listener, Stack, UdpSocket } from '../stack.ts';
import { MessageReader } from './exchange.ts';
import { decode, opt } from './message.ts';
import { isWithin } from './names.ts';
import type { DnsData, DnsType } from './types.ts';
import { isResponse, isStandard, PORT } from './wire.ts';

/** A record of a zone. */
export type ZoneRecord = {
  [T in DnsType]: {
    readonly name: string;
    readonly type: T;
    readonly data: DnsData[T];
    readonly ttl?: number;
  };
}[DnsType];

export interface DnsServerOptions {
  readonly stack: Pick<Stack, 'udp' | 'tcp'>;
  /** Names that the server answers for, as `test` or `0.0.10.in-addr.arpa`; it refuses others. */
  readonly zones: readonly string[];
  readonly records: readonly ZoneRecord[];
  /** Of records that say none. 300 by default. */
  readonly ttl?: number;
  /** For how long an absence may be remembered. 60 by default. */
  readonly negativeTtl?: number;
  readonly port?: number;
}

const NXDOMAIN = 3;
const REFUSED = 5;
/** RFC 1035 §4.2.1, for who does not say that it takes more. */
const PLAIN_PAYLOAD = 512;
const MAX_ALIASES = 8;
const MAX_MESSAGE = 0xffff;

type Message = NonNullable<ReturnType<typeof decode>>;

/** A server for the names of a test network: authoritative, over UDP and TCP, without transfers or wildcards. */
export class DnsServer {
  readonly counters = { udpQueries: 0, tcpQueries: 0, truncated: 0, inErrors: 0 };
  /** False lets questions fall silent: a server that is away. */
  answering = true;
  readonly #options: DnsServerOptions;
  readonly #records: readonly ZoneRecord[];
  #socket: UdpSocket | null = null;
  #listener: Listener | null = null;

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#records = options.records.map((record) => ({ ...record, name: record.name.toLowerCase() }));
  }

  /** Binds its port and answers until {@link close}. */
  async start(): Promise<void> {
    const { stack, port = PORT } = this.#options;
    this.#listener = await stack.tcp.listen({ port }, (flow) => {
      this.#serveFlow(flow).catch(() => flow.abort());
    });
    const socket = await stack.udp.bind({ port });
    this.#socket = socket;
    void this.#serve(socket);
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    await this.#socket?.close();
  }

  async #serve(socket: UdpSocket): Promise<void> {
    for await (const { data, remote } of socket) {
      this.counters.udpQueries++;
      const answer = this.#answer(data, null);
      // What cannot be sent is asked for again.
      if (answer !== null) socket.send(answer, { host: remote.address, port: remote.port }).catch(() => {});
    }
  }

  async #serveFlow(flow: Flow): Promise<void> {
    const reader = new MessageReader();
    for await (const chunk of flow) {
      for (let query = reader.push(chunk); query !== null; query = reader.push(new Uint8Array(0))) {
        this.counters.tcpQueries++;
        const answer = this.#answer(query, MAX_MESSAGE);
        if (answer === null) continue;
        const framed = new Uint8Array(2 + answer.length);
        set16(framed, 0, answer.length);
        framed.set(answer, 2);
        await flow.write(framed);
      }
    }
    await flow.close();
  }

  /** `limit` bytes at most; null for what the question says. Null for what deserves no answer. */
  #answer(bytes: Uint8Array, limit: number | null): Uint8Array | null {
    const query = decode(bytes);
    if (query?.questions?.length !== 1 || isResponse(bytes) || !isStandard(bytes)) {
      this.counters.inErrors++;
      return null;
    }
    if (!this.answering) return null;
    const edns = query.additionals?.find((record): record is packet.OptAnswer => record.type === 'OPT');
    const most = limit ?? Math.max(PLAIN_PAYLOAD, edns?.udpPayloadSize ?? 0);
    const whole = this.#resolve(query, edns !== undefined);
    const answer = packet.encode(whole);
    if (answer.length <= most) return answer;
    this.counters.truncated++;
    // RFC 2181 §9: better none than some of the records.
    return packet.encode({
      ...whole,
      flags: (whole.flags ?? 0) | packet.TRUNCATED_RESPONSE,
      answers: [],
      authorities: [],
    });
  }

  #resolve(query: Message, edns: boolean): packet.Packet {
    const [question] = query.questions!;
    const base: packet.Packet = {
      type: 'response',
      id: query.id!,
      // RFC 1035 §4.1.1: copied from the query.
      flags: packet.AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & packet.RECURSION_DESIRED),
      questions: [question!],
      additionals: edns ? [opt()] : [],
    };
    const flags = base.flags!;
    let owner = question!.name.toLowerCase();
    const zone = this.#zoneOf(owner);
    if (zone === null) return { ...base, flags: (flags & ~packet.AUTHORITATIVE_ANSWER) | REFUSED };
    const answers: packet.Answer[] = [];
    for (let aliases = 0; aliases < MAX_ALIASES; aliases++) {
      const own = this.#records.filter(({ name }) => name === owner);
      const found = own.filter(({ type }) => type === question!.type);
      answers.push(...found.map((record) => this.#encodable(record)));
      if (found.length > 0) return { ...base, answers };
      const alias = own.find((record) => record.type === 'CNAME');
      if (alias === undefined) {
        const isKnown = own.length > 0 || this.#records.some(({ name }) => isWithin(name, owner));
        const away = this.#zoneOf(owner) === null;
        const authorities = away ? [] : [this.#soa(this.#zoneOf(owner)!)];
        return { ...base, flags: isKnown || away ? flags : flags | NXDOMAIN, answers, authorities };
      }
      answers.push(this.#encodable(alias));
      owner = alias.data.toLowerCase();
    }
    return { ...base, answers };
  }

  #zoneOf(name: string): string | null {
    return this.#options.zones.find((zone) => isWithin(name, zone.toLowerCase())) ?? null;
  }

  #encodable({ name, type, data, ttl = this.#options.ttl ?? 300 }: ZoneRecord): packet.Answer {
    // What the type says of the data, the union of all types cannot.
    return { name, type, data, ttl, class: 'IN' } as packet.Answer;
  }

  /** RFC 2308 §3: says for how long an absence holds. */
  #soa(zone: string): packet.Answer {
    const { negativeTtl = 60 } = this.#options;
    return {
      name: zone,
      type: 'SOA',
      class: 'IN',
      ttl: negativeTtl,
      data: {
        mname: `ns.${zone}`,
        rname: `hostmaster.${zone}`,
        serial: 1,
        refresh: 3600,
        retry: 600,
        expire: 86_400,
        minimum: negativeTtl,
      },
    };
  }
}
