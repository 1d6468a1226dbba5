/**
 * What Node's HTTP/2 and TLS put around a stream without a native handle: a
 * `JSStreamSocket`, which has no export. It is mended here for those that are
 * around a socket of a stack.
 */
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { NodeNet } from './create-net.ts';
import type { SocketMethods } from './socket.ts';

interface StreamSocket {
  readonly stream: unknown;
  _getpeername(): unknown;
  _getsockname(): unknown;
  ref(): unknown;
  unref(): unknown;
  /** Begins to write; `finishWrite` follows. */
  doWrite(request: object, buffers: readonly Uint8Array[]): number;
  finishWrite(handle: object, errorCode: number): void;
  /** What is under way: `kCurrentWriteRequest`, `kCurrentShutdownRequest`, `kPendingShutdownRequest`. */
  [request: symbol]: object | null;
}

/** There is no way back. */
export function mendStreamSocket(net: NodeNet): void {
  const sample = makeSample();
  const prototype = Object.getPrototypeOf(sample) as StreamSocket;
  askSocketInside(prototype, net);
  const symbols = Object.getOwnPropertySymbols(sample);
  const find = (name: string) => symbols.find(({ description }) => description === name);
  const write = find('kCurrentWriteRequest');
  const shutdowns = [find('kCurrentShutdownRequest'), find('kPendingShutdownRequest')];
  if (write === undefined || shutdowns.includes(undefined)) return;
  takeAnyWrite(prototype, write, shutdowns as symbol[]);
}

function makeSample(): StreamSocket {
  const socket = new tls.TLSSocket(new Duplex({ read() {}, write() {} }));
  const { _parentWrap: sample } = (socket as unknown as { _handle: { _parentWrap: StreamSocket } })._handle;
  socket.destroy();
  return sample;
}

/** It knows nothing of addresses and keeps no process: both are for the socket inside. */
function askSocketInside(prototype: StreamSocket, net: NodeNet): void {
  for (const name of ['_getpeername', '_getsockname', 'ref', 'unref'] as const) {
    const inherited = prototype[name];
    prototype[name] = function (this: StreamSocket) {
      const { stream } = this;
      if (!(stream instanceof net.Socket)) return Reflect.apply(inherited, this, []);
      const answer = (stream as Socket as unknown as SocketMethods)[name]();
      return answer === stream ? this : answer;
    };
  }
}

/**
 * HTTP/2 says goodbye without waiting for the write before, and after the end.
 * A native handle has a queue for the one and an error for the other; this has
 * assertions, which end the process.
 */
function takeAnyWrite(prototype: StreamSocket, current: symbol, shutdowns: readonly symbol[]): void {
  const { doWrite, finishWrite } = prototype;
  const queues = new WeakMap<StreamSocket, { request: object; buffers: readonly Uint8Array[] }[]>();
  prototype.doWrite = function (request, buffers) {
    if (shutdowns.some((shutdown) => this[shutdown] !== null)) return -constants.errno.EPIPE;
    if (this[current] === null) return Reflect.apply(doWrite, this, [request, buffers]);
    const queue = queues.get(this) ?? [];
    queues.set(this, queue);
    queue.push({ request, buffers });
    return 0;
  };
  prototype.finishWrite = function (handle, errorCode) {
    const next = queues.get(this)?.shift();
    if (next === undefined) {
      Reflect.apply(finishWrite, this, [handle, errorCode]);
      return;
    }
    // A shutdown that waits for the writes waits for this one too.
    const waiting = shutdowns.map((shutdown) => this[shutdown]);
    for (const shutdown of shutdowns) this[shutdown] = null;
    Reflect.apply(finishWrite, this, [handle, errorCode]);
    if (errorCode === 0) Reflect.apply(doWrite, this, [next.request, next.buffers]);
    else this[current] = next.request;
    for (const [i, shutdown] of shutdowns.entries()) this[shutdown] = waiting[i]!;
    if (errorCode !== 0) this.finishWrite(handle, errorCode);
  };
}
