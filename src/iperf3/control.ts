import type { Flow } from '../stack.ts';
import { Iperf3Error, MAX_JSON_BYTES, SERVER_ERROR } from './protocol.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** A flow read by exact numbers of bytes. */
export class ExactReader {
  readonly flow: Flow;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(flow: Flow) {
    this.flow = flow;
  }

  /** Bytes that came with what was read. */
  takeRest(): Uint8Array {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    return rest;
  }

  /** The next `length` bytes; null where the stream ends before the first of them. Rejects with `Iperf3Error` where it ends among them. */
  async read(length: number): Promise<Uint8Array | null> {
    const result = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      if (this.#rest.length === 0) {
        const chunk = await this.flow.read();
        if (chunk === null) {
          if (at === 0) return null;
          throw new Iperf3Error('the control connection was cut off in the middle of a message');
        }
        this.#rest = chunk;
        continue;
      }
      const part = this.#rest.subarray(0, length - at);
      result.set(part, at);
      at += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return result;
  }
}

/** The control connection: states and JSON. */
export class Control {
  readonly flow: Flow;
  readonly #reader: ExactReader;

  constructor(reader: ExactReader) {
    this.flow = reader.flow;
    this.#reader = reader;
  }

  /** The next state; null where the peer has closed. A server's error rejects with `Iperf3Error`. */
  async readState(): Promise<number | null> {
    const byte = await this.#reader.read(1);
    if (byte === null) return null;
    if (byte[0] !== SERVER_ERROR) return byte[0]!;
    const numbers = await this.#reader.read(8);
    const code = numbers === null ? 0 : new DataView(numbers.buffer).getInt32(0);
    throw new Iperf3Error(`the server reports its error ${code}`);
  }

  sendState(state: number): Promise<void> {
    return this.flow.write(Uint8Array.of(state));
  }

  async sendJson(value: unknown): Promise<void> {
    const text = encoder.encode(JSON.stringify(value));
    const message = new Uint8Array(4 + text.length);
    new DataView(message.buffer).setUint32(0, text.length);
    message.set(text, 4);
    await this.flow.write(message);
  }

  async readJson(): Promise<Readonly<Record<string, unknown>>> {
    const prefix = await this.#reader.read(4);
    const length = prefix === null ? 0 : new DataView(prefix.buffer).getUint32(0);
    if (length === 0 || length > MAX_JSON_BYTES) {
      throw new Iperf3Error(`the peer announced ${length} bytes of JSON; ${MAX_JSON_BYTES} are taken`);
    }
    const text = await this.#reader.read(length);
    if (text === null) throw new Iperf3Error('the control connection ended where JSON was due');
    let value: unknown;
    try {
      value = JSON.parse(decoder.decode(text));
    } catch (cause) {
      throw new Iperf3Error('the peer sent what is not JSON', { cause });
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new Iperf3Error('the peer sent JSON that is not an object');
    }
    return value as Record<string, unknown>;
  }
}
