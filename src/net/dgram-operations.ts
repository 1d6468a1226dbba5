/** Binding, connecting and sending, step by step, as `dgram` does them. */
import { EventEmitter } from 'node:events';
import type { Datagram } from '../stack.ts';
import type { DgramMethods } from './dgram.ts';
import type { SendCallback, SendRequest } from './dgram-arguments.ts';
import { BUFFER_FACTOR, kState, type Task } from './dgram-state.ts';
import { type ErrorCode, errnoException, hostPortException } from './node-errors.ts';

/** Calls back unless the socket was closed meanwhile. An empty host is this one. */
export function lookup(
  socket: DgramMethods,
  host: string,
  callback: (error: Error | null, address: string) => void,
): void {
  const state = socket[kState];
  const family = socket.type === 'udp4' ? 4 : 6;
  const name = host || (family === 4 ? '127.0.0.1' : '::1');
  // With the family alone: what was written for `dgram` expects that.
  state.lookup(name, family, (error, address) => {
    if (state.port !== null) callback(error, address as string);
  });
}

// ---------------------------------------------------------------- binding

export function onceBound(socket: DgramMethods, callback: (this: DgramMethods) => void): void {
  const removeListeners = (): void => {
    socket.removeListener('error', removeListeners);
    socket.removeListener('listening', onListening);
  };
  const onListening = (): void => {
    removeListeners();
    callback.call(socket);
  };
  socket.on('error', removeListeners);
  socket.on('listening', onListening);
}

export function bindTo(socket: DgramMethods, host: string, port: number): void {
  const state = socket[kState];
  const { receiveBufferSize, reuseAddress, ipv6Only } = state;
  const buffer = receiveBufferSize === undefined ? {} : { receiveBuffer: receiveBufferSize * BUFFER_FACTOR };
  state.port!.bind({ host, port, reuseAddress, ipv6Only, ...buffer }, (code) => {
    if (state.port === null) return;
    if (code !== null) {
      bindFailed(socket, hostPortException(code, 'bind', host, port));
      return;
    }
    state.binding = 'bound';
    state.port.receive({
      message: (datagram) => emitMessage(socket, datagram),
      failed: (error) => socket.emit('error', errnoException(error, 'recvmsg')),
    });
    socket.emit('listening');
  });
}

export function bindFailed(socket: DgramMethods, error: Error): void {
  socket[kState].binding = 'unbound';
  socket.emit('error', error);
}

function emitMessage(socket: DgramMethods, { data, remote }: Datagram): void {
  const message = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const { address, family, port } = remote;
  socket.emit('message', message, { address, family, port, size: data.length });
}

/** Runs `task` when the socket is bound: now, or after binding it to any port. */
export function whenBound(socket: DgramMethods, task: Task): void {
  const state = socket[kState];
  if (state.binding === 'unbound') socket.bind({ port: 0, exclusive: true }, null);
  if (state.binding === 'bound') {
    task();
    return;
  }
  if (state.queue === null) {
    state.queue = [];
    const onListening = (): void => {
      socket.removeListener(EventEmitter.errorMonitor, onError);
      const tasks = state.queue ?? [];
      state.queue = null;
      for (const queued of tasks) queued();
    };
    const onError = (): void => {
      socket.removeListener('listening', onListening);
      state.queue = null;
    };
    socket.once(EventEmitter.errorMonitor, onError);
    socket.once('listening', onListening);
  }
  state.queue.push(task);
}

// ---------------------------------------------------------------- connecting and sending

export function connectTo(
  socket: DgramMethods,
  address: string,
  port: number,
  callback: SendCallback | undefined,
): void {
  const state = socket[kState];
  if (callback) socket.once('connect', callback);
  const failed = (error: Error): void => {
    state.connection = 'none';
    process.nextTick(() => {
      if (callback) {
        socket.removeListener('connect', callback);
        callback(error);
      } else {
        socket.emit('error', error);
      }
    });
  };
  lookup(socket, address, (error, host) => {
    if (error) {
      failed(error);
      return;
    }
    state.port!.connect(host, port, (code) => {
      if (state.port === null) return;
      if (code !== null) {
        failed(hostPortException(code, 'connect', address, port));
        return;
      }
      state.connection = 'connected';
      state.remote = { address: host, port, family: socket.type === 'udp4' ? 'IPv4' : 'IPv6' };
      socket.emit('connect');
    });
  });
}

export function transmit(socket: DgramMethods, { data, port, address, callback }: SendRequest): void {
  const state = socket[kState];
  const send = (remote: { host: string; port: number } | undefined): void => {
    state.port?.send(data, remote, (code: ErrorCode | null) => {
      // Without a callback, errors of sending are nobody's: UDP promises nothing.
      if (code === null) callback?.(null, data.length);
      else callback?.(hostPortException(code, 'send', address, port));
    });
  };
  if (port === undefined) {
    send(undefined);
    return;
  }
  lookup(socket, address ?? '', (error, host) => {
    if (!error) send({ host, port });
    else if (callback) process.nextTick(callback, error);
    else process.nextTick(() => socket.emit('error', error));
  });
}
