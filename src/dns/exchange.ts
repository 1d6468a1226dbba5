import { get16, set16 } from '../bytes/index.ts';
import { NetError } from '../errors.ts';
import type { Tcp, Udp } from '../stack.ts';
import type { Clock, Random } from '../time/index.ts';
import { encodeQuery } from './message.ts';
import { mixCase } from './names.ts';
import { matches } from './sound.ts';
import type { DnsType } from './types.ts';
import { isTruncated, PORT } from './wire.ts';

export interface Transport {
  readonly udp: Udp;
  readonly tcp: Tcp;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Question {
  /** In lower case. */
  readonly name: string;
  readonly type: DnsType;
}

export interface ExchangeCounters {
  udpQueries: number;
  tcpQueries: number;
  /** Datagrams from the server's address that answer another question, or have another id: somebody guesses. */
  mismatches: number;
  truncated: number;
  timeouts: number;
}

/** RFC 5452 §9.3 wants attempts noticed: after this many wrong answers TCP is asked, which cannot be guessed. */
const MAX_MISMATCHES = 8;

export interface Server {
  readonly host: string;
  readonly port: number;
}

/** `10.0.0.1`, `2001:db8::1`, `10.0.0.1:5353`, `[2001:db8::1]:5353`. */
export function parseServer(text: string): Server {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text);
  if (bracketed === null) return { host: text, port: PORT };
  return { host: bracketed[1]!, port: bracketed[2] === undefined ? PORT : Number(bracketed[2]) };
}

/** One question to one server: a datagram from a port of its own, or TCP where that is needed. */
export class Exchange {
  readonly #transport: Transport;
  readonly #counters: ExchangeCounters;

  constructor(transport: Transport, counters: ExchangeCounters) {
    this.#transport = transport;
    this.#counters = counters;
  }

  /** The bytes of a response to this very question. Rejects with `ETIMEDOUT` after `timeoutMs`, or what the network says. */
  async ask(server: Server, question: Question, timeoutMs: number, edns: boolean): Promise<Uint8Array> {
    const answer = await this.#overUdp(server, question, timeoutMs, edns);
    return answer ?? this.#overTcp(server, question, timeoutMs, edns);
  }

  /** Null where TCP is to be asked. */
  async #overUdp(
    server: Server,
    question: Question,
    timeoutMs: number,
    edns: boolean,
  ): Promise<Uint8Array | null> {
    const { udp, clock } = this.#transport;
    const query = this.#encode(question, edns);
    // RFC 5452 §4.5, §9.2: a random port for each query.
    const socket = await udp.bind();
    const alarm = clock.alarm(() => void socket.close());
    alarm.set(clock.now() + timeoutMs);
    try {
      // RFC 5452 §9.1: only what the server's address and port send is received.
      await socket.connect(server);
      this.#counters.udpQueries++;
      await socket.send(query);
      let mismatches = 0;
      for (;;) {
        const datagram = await socket.receive();
        if (datagram === null) throw this.#timeout(server, timeoutMs);
        const match = matches(datagram.data, query);
        if (match === 'yes') {
          if (!isTruncated(datagram.data)) return datagram.data;
          this.#counters.truncated++;
          return null;
        }
        this.#counters.mismatches++;
        // A server that spells names its own way is asked by TCP; so is one that others answer for.
        if (match === 'case' || ++mismatches >= MAX_MISMATCHES) return null;
      }
    } finally {
      alarm.clear();
      await socket.close();
    }
  }

  /** RFC 7766: two bytes of length before each message. */
  async #overTcp(server: Server, question: Question, timeoutMs: number, edns: boolean): Promise<Uint8Array> {
    const { tcp, clock } = this.#transport;
    const query = this.#encode(question, edns);
    this.#counters.tcpQueries++;
    const flow = await tcp.connect({ ...server, timeoutMs });
    let late = false;
    const alarm = clock.alarm(() => {
      late = true;
      flow.abort();
    });
    alarm.set(clock.now() + timeoutMs);
    try {
      const framed = new Uint8Array(2 + query.length);
      set16(framed, 0, query.length);
      framed.set(query, 2);
      await flow.write(framed);
      const reader = new MessageReader();
      for (;;) {
        const chunk = await flow.read();
        const answer = chunk === null ? null : reader.push(chunk);
        if (chunk === null) {
          throw new NetError('ECONNRESET', { syscall: 'query', address: server.host, port: server.port });
        }
        // The case of a name is no secret on a connection, but the question is still to be ours.
        if (answer !== null) {
          if (matches(answer, query) === 'no') {
            throw new NetError('EPROTO', {
              syscall: 'query',
              address: server.host,
              reason: 'no answer to it',
            });
          }
          return answer;
        }
      }
    } catch (error) {
      throw late ? this.#timeout(server, timeoutMs) : error;
    } finally {
      alarm.clear();
      // Not waited for: the answer is here.
      flow.close().catch(() => {});
    }
  }

  #encode({ name, type }: Question, edns: boolean): Uint8Array {
    const { random } = this.#transport;
    return encodeQuery({ id: random.next32() & 0xffff, name: mixCase(name, random), type, edns });
  }

  #timeout(server: Server, timeoutMs: number): NetError {
    this.#counters.timeouts++;
    return new NetError('ETIMEDOUT', {
      syscall: 'query',
      address: server.host,
      port: server.port,
      reason: `no answer within ${timeoutMs} ms`,
    });
  }
}

/** Cuts a stream into messages by their two bytes of length. */
export class MessageReader {
  #bytes: Uint8Array = new Uint8Array(0);

  /** Takes what came, and gives the next message if it is complete; `push` of nothing gives those after it. */
  push(chunk: Uint8Array): Uint8Array | null {
    const joined = new Uint8Array(this.#bytes.length + chunk.length);
    joined.set(this.#bytes);
    joined.set(chunk, this.#bytes.length);
    this.#bytes = joined;
    if (joined.length < 2) return null;
    const end = 2 + get16(joined, 0);
    if (joined.length < end) return null;
    this.#bytes = joined.subarray(end);
    return joined.subarray(2, end);
  }
}
