/** The many forms in which `dgram.Socket.send` takes its arguments. */
import { invalidArgType, outOfBounds, stateError } from './node-errors.ts';
import { validatePort, validateString } from './validate.ts';

export type SendCallback = (error: Error | null, bytes?: number) => void;

export interface SendRequest {
  readonly data: Uint8Array;
  /** Undefined on a connected socket. */
  readonly port: number | undefined;
  readonly address: string | undefined;
  readonly callback: SendCallback | undefined;
}

const KINDS = ['Buffer', 'TypedArray', 'DataView', 'string'];

/**
 * `(message[, offset, length], port[, address][, callback])`, and without port
 * and address on a connected socket. `message` may be a list of parts.
 */
export function sendRequest(args: readonly unknown[], connected: boolean): SendRequest {
  const [message, second, third, fourth, fifth, sixth] = args;
  let rest: readonly unknown[];
  let data: Uint8Array;
  const hasRange = connected
    ? typeof third === 'number'
    : Boolean(fifth) || (Boolean(fourth) && typeof fourth !== 'function');
  if (hasRange) {
    data = slice(message, second, third);
    rest = [fourth, fifth, sixth];
  } else {
    data = whole(message);
    rest = [second, third, fourth];
  }
  if (connected) {
    const [port, address] = rest;
    if ((port && typeof port !== 'function') || (address && typeof address !== 'function')) {
      throw stateError('ERR_SOCKET_DGRAM_IS_CONNECTED');
    }
    return { data, port: undefined, address: undefined, callback: callbackOf(port, address) };
  }
  const port = validatePort(rest[0], 'Port', false);
  const [, address, callback] = rest;
  if (typeof address !== 'function' && address !== undefined && address !== null) {
    validateString(address, 'address');
    return { data, port, address, callback: callbackOf(callback) };
  }
  return { data, port, address: undefined, callback: callbackOf(address, callback) };
}

function callbackOf(...candidates: readonly unknown[]): SendCallback | undefined {
  return candidates.find((candidate) => typeof candidate === 'function') as SendCallback | undefined;
}

function slice(message: unknown, offset: unknown, length: unknown): Uint8Array {
  const bytes = bytesOf(message);
  if (bytes === null) throw invalidArgType('buffer', KINDS, message);
  const from = Number(offset) >>> 0;
  const size = Number(length) >>> 0;
  if (from > bytes.length) throw outOfBounds('offset');
  if (from + size > bytes.length) throw outOfBounds('length');
  return bytes.subarray(from, from + size);
}

function whole(message: unknown): Uint8Array {
  if (!Array.isArray(message)) {
    const bytes = bytesOf(message);
    if (bytes === null) throw invalidArgType('buffer', KINDS, message);
    return bytes;
  }
  const parts = message.map(bytesOf);
  if (!parts.every((part) => part !== null)) {
    throw invalidArgType('buffer list arguments', KINDS, message);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

function bytesOf(part: unknown): Buffer | null {
  if (typeof part === 'string') return Buffer.from(part);
  if (!ArrayBuffer.isView(part)) return null;
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}
