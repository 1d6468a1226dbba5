/** Attempts at several addresses of one name, one after the other (RFC 8305, as Node does it). */
import type { LookupAddress } from 'node:dns';
import { attemptError, type Destination, establish, openTransport } from './attempt.ts';
import { blockedBy } from './block-list.ts';
import { aggregateException, type SystemError, stateError } from './node-errors.ts';
import type { SocketMethods } from './socket.ts';
import { attach } from './socket-owner.ts';
import { kState } from './socket-state.ts';
import type { Transport } from './transport.ts';

export interface AttemptOptions {
  readonly port: number;
  readonly localPort: number | undefined;
  /** An attempt that has not been answered by then is given up for the next. */
  readonly timeoutMs: number;
}

/** Each address once, the families in turn, beginning with the first one's. */
export function alternate(addresses: readonly LookupAddress[]): LookupAddress[] {
  const unique = addresses.filter(
    ({ address }, i) => addresses.findIndex((other) => other.address === address) === i,
  );
  const leading = unique.filter(({ family }) => family === unique[0]!.family);
  const other = unique.filter(({ family }) => family !== unique[0]!.family);
  const result: LookupAddress[] = [];
  for (let i = 0; i < Math.max(leading.length, other.length); i++) {
    if (i < leading.length) result.push(leading[i]!);
    if (i < other.length) result.push(other[i]!);
  }
  return result;
}

export function connectToAny(
  socket: SocketMethods,
  addresses: readonly LookupAddress[],
  options: AttemptOptions,
): void {
  socket.autoSelectFamilyAttemptedAddresses = [];
  new Attempts(socket, addresses, options).next();
}

class Attempts {
  readonly #socket: SocketMethods;
  readonly #addresses: readonly LookupAddress[];
  readonly #options: AttemptOptions;
  readonly #errors: Error[] = [];
  /** Whether the socket's own transport has had its attempt. */
  #used = false;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: SocketMethods, addresses: readonly LookupAddress[], options: AttemptOptions) {
    this.#socket = socket;
    this.#addresses = addresses;
    this.#options = options;
  }

  next(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (socket[kState].aborted) return;
    if (this.#count === this.#addresses.length) {
      this.#giveUp();
      return;
    }
    const { port, localPort, timeoutMs } = this.#options;
    const { address, family } = this.#addresses[this.#count]!;
    const isLast = ++this.#count === this.#addresses.length;
    const blocked = blockedBy(socket[kState].blockList, address, family);
    if (blocked !== null) {
      this.#errors.push(blocked);
      socket.emit('connectionAttemptFailed', address, port, family, blocked);
      this.next();
      return;
    }
    const transport = this.#used ? this.#replaceTransport() : socket[kState].transport!;
    this.#used = true;
    const destination: Destination = { address, family, port, localAddress: undefined, localPort };
    socket.autoSelectFamilyAttemptedAddresses!.push(`${address}:${port}`);
    let timedOut = false;
    const refused = openTransport(socket, transport, destination, (error) => {
      if (timedOut) return;
      clearTimeout(this.#timer);
      if (error === null) this.#succeeded(transport);
      else this.#failed(error, destination);
    });
    if (refused !== null) {
      if (refused.syscall === 'bind') {
        this.#errors.push(refused);
        this.next();
      } else {
        this.#failed(refused, destination);
      }
    } else if (!isLast) {
      this.#timer = setTimeout(() => {
        timedOut = true;
        this.#timedOut(transport, destination);
      }, timeoutMs);
    }
  }

  /** A transport is good for one attempt. */
  #replaceTransport(): Transport {
    const socket = this.#socket;
    const state = socket[kState];
    state.transport?.close();
    const transport = state.context.network.createTransport();
    attach(socket, transport);
    return transport;
  }

  #succeeded(transport: Transport): void {
    const socket = this.#socket;
    if (socket.destroyed || socket[kState].transport !== transport) transport.close();
    else establish(socket, transport);
  }

  #failed(error: SystemError, { address, port, family }: Destination): void {
    const socket = this.#socket;
    this.#errors.push(error);
    socket.emit('connectionAttemptFailed', address, port, family, error);
    if (!socket.connecting) return;
    if (error.code === 'ECANCELED') this.#giveUp();
    else this.next();
  }

  #timedOut(transport: Transport, destination: Destination): void {
    const socket = this.#socket;
    const { address, port, family } = destination;
    socket.emit('connectionAttemptTimeout', address, port, family);
    this.#errors.push(attemptError('ETIMEDOUT', destination));
    transport.close();
    if (socket.connecting) this.next();
  }

  #giveUp(): void {
    const hasErrors = this.#errors.length > 0;
    this.#socket.destroy(
      hasErrors ? aggregateException(this.#errors) : stateError('ERR_SOCKET_CONNECTION_TIMEOUT'),
    );
  }
}
