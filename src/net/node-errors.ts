/**
 * The errors of Node's `net` and `dgram`, with the same classes, codes,
 * messages and properties, so that a program that looks at them cannot tell
 * which network it runs on.
 */
import os from 'node:os';
import util from 'node:util';

/** A system error's code, such as `ECONNREFUSED`. */
export type ErrorCode = string;

const ERRNO = os.constants.errno as Readonly<Record<string, number | undefined>>;

/** What libuv calls errors of name resolution. */
const UV_EAI: Readonly<Record<string, number>> = { ENOTFOUND: -3008, EAI_FAIL: -3004, EAI_AGAIN: -3001 };

export interface SystemError extends Error {
  code: string;
  errno: number | undefined;
  syscall: string;
  address?: string;
  port?: number;
  localAddress?: string;
  localPort?: number;
  hostname?: string;
}

/** The code of `error`, or `EIO` for one that has none: a stack's own errors all have one. */
export function codeOf(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'EIO';
}

function errnoOf(code: ErrorCode): number | undefined {
  const errno = ERRNO[code];
  return errno === undefined ? UV_EAI[code] : -errno;
}

function systemError(message: string, code: ErrorCode, syscall: string): SystemError {
  return Object.assign(new Error(message), { errno: errnoOf(code), code, syscall });
}

/** `read ECONNRESET` */
export function errnoException(code: ErrorCode, syscall: string): SystemError {
  return systemError(`${syscall} ${code}`, code, syscall);
}

/** `connect ECONNREFUSED 127.0.0.1:80`; `local` is added as `- Local (…)`. */
export function hostPortException(
  code: ErrorCode,
  syscall: string,
  address: string | undefined,
  port: number | undefined,
  local?: string,
): SystemError {
  const where = port !== undefined && port > 0 ? ` ${address}:${port}` : address ? ` ${address}` : '';
  const from = local === undefined ? '' : ` - Local (${local})`;
  const error = systemError(`${syscall} ${code}${where}${from}`, code, syscall);
  if (address !== undefined) error.address = address;
  if (port) error.port = port;
  return error;
}

/** `listen EADDRINUSE: address already in use 127.0.0.1:80` */
export function listenException(code: ErrorCode, address: string, port: number): SystemError {
  const errno = errnoOf(code);
  const words = errno === undefined ? 'unknown error' : systemMessage(errno);
  const where = port > 0 ? ` ${address}:${port}` : ` ${address}`;
  const error = Object.assign(new Error(`listen ${code}: ${words}${where}`), {
    code,
    errno,
    syscall: 'listen',
    address,
  });
  return port > 0 ? Object.assign(error, { port }) : error;
}

function systemMessage(errno: number): string {
  return util.getSystemErrorMap().get(errno)?.[1] ?? 'unknown error';
}

/** `getaddrinfo ENOTFOUND example.org` */
export function lookupException(code: ErrorCode, hostname: string): SystemError {
  const error = systemError(`getaddrinfo ${code} ${hostname}`, code, 'getaddrinfo');
  error.hostname = hostname;
  return error;
}

/** All the attempts at the addresses of one name have failed. */
export function aggregateException(errors: readonly Error[]): AggregateError & { code: string } {
  return Object.assign(new AggregateError(errors), { code: codeOf(errors[0]) });
}

/** An error of Node's own, whose `code` is part of the stack's first line but not of its `name`. */
export interface CodedError extends Error {
  code: string;
}

function coded<E extends Error>(error: E, code: string): E & CodedError {
  const { name } = error;
  Object.defineProperty(error, 'name', { value: `${name} [${code}]`, configurable: true });
  Error.captureStackTrace(error, coded);
  // The stack's header is made when it is first looked at.
  void error.stack;
  Reflect.deleteProperty(error, 'name');
  Object.defineProperty(error, 'toString', {
    value: () => `${name} [${code}]: ${error.message}`,
    configurable: true,
    writable: true,
  });
  return Object.assign(error, { code });
}

/** Node's plain errors: a code and a sentence. */
const SENTENCES = {
  ERR_INVALID_HANDLE_TYPE: 'This handle type cannot be sent',
  ERR_SERVER_ALREADY_LISTEN: 'Listen method has been called more than once without closing.',
  ERR_SERVER_NOT_RUNNING: 'Server is not running.',
  ERR_SOCKET_ALREADY_BOUND: 'Socket is already bound',
  ERR_SOCKET_CLOSED: 'Socket is closed',
  ERR_SOCKET_CLOSED_BEFORE_CONNECTION: 'Socket closed before the connection was established',
  ERR_SOCKET_CONNECTION_TIMEOUT: 'Socket connection timeout',
  ERR_SOCKET_DGRAM_IS_CONNECTED: 'Already connected',
  ERR_SOCKET_DGRAM_NOT_CONNECTED: 'Not connected',
  ERR_SOCKET_DGRAM_NOT_RUNNING: 'Not running',
} as const;

export function stateError(code: keyof typeof SENTENCES): CodedError {
  return coded(new Error(SENTENCES[code]), code);
}

export function badSocketType(): CodedError {
  return coded(
    new TypeError('Bad socket type specified. Valid types are: udp4, udp6'),
    'ERR_SOCKET_BAD_TYPE',
  );
}

export function badBufferSize(): CodedError {
  return coded(new TypeError('Buffer size must be a positive integer'), 'ERR_SOCKET_BAD_BUFFER_SIZE');
}

/** `getRecvBufferSize` and its like on a socket that is not bound. */
export function bufferSizeError(code: ErrorCode, syscall: string): CodedError {
  const errno = errnoOf(code);
  const words = errno === undefined ? 'unknown error' : systemMessage(errno);
  const message = `Could not get or set buffer size: ${syscall} returned ${code} (${words})`;
  const error = new Error(message);
  Object.defineProperty(error, 'name', { value: 'SystemError', configurable: true });
  const result = coded(error, 'ERR_SOCKET_BUFFER_SIZE');
  Object.defineProperty(result, 'name', { value: 'SystemError', configurable: true, writable: true });
  const info: Record<string, unknown> = { errno, code, message: words, syscall };
  // As Node's `SystemError` has them: the one place for both is `info`.
  const shared = (key: string): PropertyDescriptor => ({
    get: () => info[key],
    set: (value: unknown) => {
      info[key] = value;
    },
    enumerable: true,
    configurable: true,
  });
  return Object.defineProperties(result, {
    info: { value: info, enumerable: true, configurable: true },
    errno: shared('errno'),
    syscall: shared('syscall'),
    [util.inspect.custom]: {
      value: (_depth: number, options: util.InspectOptions) =>
        util.inspect(result, { ...options, getters: true, customInspect: false }),
    },
  });
}

/** An address that a `net.BlockList` has. */
export function blockedAddress(address: string): CodedError {
  return coded(new Error(`IP(${address}) is blocked by net.BlockList`), 'ERR_IP_BLOCKED');
}

/** The peer has ended and half-open connections are not allowed. */
export function endedByPeer(): CodedError {
  return Object.assign(new Error('This socket has been ended by the other party'), { code: 'EPIPE' });
}

export function invalidIpAddress(address: unknown): CodedError {
  return coded(new TypeError(`Invalid IP address: ${address}`), 'ERR_INVALID_IP_ADDRESS');
}

export function invalidAddressFamily(family: unknown, host: unknown, port: unknown): CodedError {
  const error = coded(
    new RangeError(`Invalid address family: ${family} ${host}:${port}`),
    'ERR_INVALID_ADDRESS_FAMILY',
  );
  return Object.assign(error, { host, port });
}

/** One of `names` would have done. */
export function missingArguments(...names: readonly string[]): CodedError {
  const list = names.map((name) => `"${name}"`).join(' or ');
  return coded(new TypeError(`The ${list} argument must be specified`), 'ERR_MISSING_ARGS');
}

export function invalidArgValue(name: string, value: unknown, reason = 'is invalid'): CodedError {
  let shown = util.inspect(value);
  if (shown.length > 128) shown = `${shown.slice(0, 128)}...`;
  const kind = name.includes('.') ? 'property' : 'argument';
  return coded(new TypeError(`The ${kind} '${name}' ${reason}. Received ${shown}`), 'ERR_INVALID_ARG_VALUE');
}

export function outOfRange(name: string, range: string, value: unknown): CodedError {
  const shown = typeof value === 'number' ? String(value) : util.inspect(value);
  return coded(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${shown}`),
    'ERR_OUT_OF_RANGE',
  );
}

export function outOfBounds(name: string): CodedError {
  return coded(new RangeError(`"${name}" is outside of buffer bounds`), 'ERR_BUFFER_OUT_OF_BOUNDS');
}

export function badPort(name: string, port: unknown, allowZero: boolean): CodedError {
  const message = `${name} should be ${allowZero ? '>=' : '>'} 0 and < 65536. Received ${kindOf(port)}.`;
  return coded(new RangeError(message), 'ERR_SOCKET_BAD_PORT');
}

const PRIMITIVES = new Set(['string', 'function', 'number', 'object', 'boolean', 'bigint', 'symbol']);
/** Classes that Node calls by the type of their instances. */
const TYPE_OF: Readonly<Record<string, string>> = { Object: 'object', Function: 'function' };

/** `expected` are names of primitive types in lower case, and of classes. */
export function invalidArgType(
  name: string,
  expected: string | readonly string[],
  value: unknown,
): CodedError {
  const all = (typeof expected === 'string' ? [expected] : expected).map((kind) => TYPE_OF[kind] ?? kind);
  const types = all.filter((kind) => PRIMITIVES.has(kind));
  const classes = all.filter((kind) => !PRIMITIVES.has(kind));
  const parts: string[] = [];
  if (types.length > 0) parts.push(`${types.length > 1 ? 'one of type' : 'of type'} ${either(types)}`);
  if (classes.length > 0) parts.push(`an instance of ${either(classes)}`);
  const subject = name.endsWith(' argument')
    ? name
    : `"${name}" ${name.includes('.') ? 'property' : 'argument'}`;
  return coded(
    new TypeError(`The ${subject} must be ${parts.join(' or ')}. Received ${kindOf(value)}`),
    'ERR_INVALID_ARG_TYPE',
  );
}

function either(names: readonly string[]): string {
  if (names.length <= 2) return names.join(' or ');
  return `${names.slice(0, -1).join(', ')}, or ${names.at(-1)}`;
}

/** What was given, in words. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'function' && value.name) return `function ${value.name}`;
  if (typeof value === 'object') {
    const className = value.constructor?.name;
    return className ? `an instance of ${className}` : util.inspect(value, { depth: -1 });
  }
  const shown = util.inspect(value, { colors: false });
  return `type ${typeof value} (${shown.length > 28 ? `${shown.slice(0, 25)}...` : shown})`;
}
