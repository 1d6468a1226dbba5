import { NetError, type NetErrorCode } from '../../errors.ts';
import type { Xenstore, XenstoreAccess, XenstoreWatch } from './hypervisor.ts';
import {
  messageName,
  messageType,
  payloadLength,
  requestId,
  writeHeader,
  XENSTORE_ABSOLUTE_PATH_MAX,
  XENSTORE_HEADER,
  XENSTORE_PAYLOAD_MAX,
  XENSTORE_RELATIVE_PATH_MAX,
  XS_DIRECTORY,
  XS_DIRECTORY_PART,
  XS_ERROR,
  XS_MKDIR,
  XS_READ,
  XS_RM,
  XS_SET_PERMS,
  XS_TRANSACTION_END,
  XS_TRANSACTION_START,
  XS_UNWATCH,
  XS_WATCH,
  XS_WATCH_EVENT,
  XS_WRITE,
} from './xenstore-wire.ts';

/** A stream of bytes to xenstored and back, each message given to `send` in one piece. */
export interface XenstoreTransport {
  start(handler: XenstoreTransportHandler): void;
  /** @throws NetError if it cannot be sent */
  send(message: Uint8Array): void;
  /** No call of the handler follows. */
  close(): void;
}

export interface XenstoreTransportHandler {
  /** Bytes in order, cut anywhere; they may be overwritten after the call. */
  received(bytes: Uint8Array): void;
  /** Called once; nothing follows. */
  failed(error: Error): void;
}

/** Conflicts are rare, so that many in a row mean something else is wrong. */
const MOST_ATTEMPTS = 64;

/** Names of errors that xenstored sends and {@link NetErrorCode} has too; the others become EINVAL. */
const CODES = new Set<string>([
  'EACCES',
  'EAGAIN',
  'EBUSY',
  'EEXIST',
  'EINVAL',
  'EIO',
  'EISCONN',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'ENOSYS',
  'EPERM',
]);

const MEANING: Record<string, string> = {
  EACCES: 'the node belongs to another domain',
  ENOENT: 'no such node',
  ENOSPC: "the domain's quota of nodes or watches is used up",
  E2BIG: 'a value or path is too long, or the domain has too many nodes',
};

interface Request {
  readonly type: number;
  readonly id: number;
  readonly message: Uint8Array;
  /** For people: `read /local/domain/0/name`. */
  readonly what: string;
  resolve(payload: Uint8Array): void;
  reject(error: Error): void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const NOTHING = new Uint8Array(0);

/**
 * A client of xenstored. One request is outstanding at a time, the others wait
 * for its reply: Linux (`xenbus_dev_request_and_reply`) sends a request out of
 * the buffer that the next write to the device overwrites.
 */
export class XenstoreClient implements Xenstore {
  readonly #transport: XenstoreTransport;
  readonly #closed: (error: Error) => void;
  readonly #waiting: Request[] = [];
  #current: Request | null = null;
  readonly #watches = new Map<string, (path: string) => void>();
  readonly #access: XenstoreAccess;
  #nextRequest = 1;
  #nextToken = 1;
  #error: Error | null = null;
  /** What has come of a message that is not complete. */
  #rest: Uint8Array = NOTHING;

  /** @param closed called when the connection fails by itself: nothing watched will be heard of again */
  constructor(transport: XenstoreTransport, closed: (error: Error) => void = () => {}) {
    this.#transport = transport;
    this.#closed = closed;
    this.#access = this.#within(0);
    transport.start({
      received: (bytes) => this.#received(bytes),
      failed: (error) => this.#fail(error),
    });
  }

  read(path: string): Promise<string | null> {
    return this.#access.read(path);
  }

  list(path: string): Promise<string[] | null> {
    return this.#access.list(path);
  }

  write(path: string, value: string): Promise<void> {
    return this.#access.write(path, value);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#access.makeDirectory(path);
  }

  remove(path: string): Promise<void> {
    return this.#access.remove(path);
  }

  setPermissions(path: string, permissions: readonly string[]): Promise<void> {
    return this.#access.setPermissions(path, permissions);
  }

  async transaction<T>(body: (access: XenstoreAccess) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const id = Number(strings(await this.#request(XS_TRANSACTION_START, 0, '', '\0'))[0]);
      if (!Number.isInteger(id) || id <= 0) throw protocolError(`transaction_start answers ${id}`);
      let result: T;
      try {
        result = await body(this.#within(id));
      } catch (error) {
        // What made it fail is the news; if the connection is gone, so is the transaction.
        await this.#request(XS_TRANSACTION_END, id, '', 'F\0').catch(() => {});
        throw error;
      }
      try {
        await this.#request(XS_TRANSACTION_END, id, '', 'T\0');
        return result;
      } catch (error) {
        if (!hasCode(error, 'EAGAIN') || attempt === MOST_ATTEMPTS) throw error;
      }
    }
  }

  async watch(path: string, changed: (path: string) => void): Promise<XenstoreWatch> {
    const token = `${this.#nextToken++}`;
    // The first event may come before the reply.
    this.#watches.set(token, changed);
    try {
      await this.#request(XS_WATCH, 0, path, `${path}\0${token}\0`);
    } catch (error) {
      this.#watches.delete(token);
      throw error;
    }
    return {
      close: async () => {
        if (!this.#watches.delete(token) || this.#error !== null) return;
        await this.#request(XS_UNWATCH, 0, path, `${path}\0${token}\0`);
      },
    };
  }

  /** What waits for a reply fails with `EPIPE`. Idempotent. */
  close(): void {
    if (this.#error !== null) return;
    this.#end(new NetError('EPIPE', { syscall: 'xenstore', reason: 'the connection was closed' }));
  }

  #within(transaction: number): XenstoreAccess {
    const request = (type: number, path: string, payload = `${path}\0`): Promise<Uint8Array> =>
      this.#request(type, transaction, path, payload);
    return {
      read: (path) => orNull(request(XS_READ, path).then(text)),
      list: (path) =>
        orNull(
          request(XS_DIRECTORY, path).then(strings, (error: unknown) => {
            if (!(error instanceof TooBig)) throw error;
            return this.#listInParts(path, transaction);
          }),
        ),
      write: async (path, value) => {
        await request(XS_WRITE, path, `${path}\0${value}`);
      },
      makeDirectory: async (path) => {
        await request(XS_MKDIR, path);
      },
      remove: async (path) => {
        await orNull(request(XS_RM, path));
      },
      setPermissions: async (path, permissions) => {
        await request(XS_SET_PERMS, path, `${path}\0${permissions.map((entry) => `${entry}\0`).join('')}`);
      },
    };
  }

  /**
   * A reply begins with the node's generation; if that changes between parts,
   * the parts do not fit together and it begins again. An empty name ends it.
   */
  async #listInParts(path: string, transaction: number): Promise<string[]> {
    let generation: string | null = null;
    let list = '';
    for (;;) {
      const offset = encoder.encode(list).length;
      const part = text(await this.#request(XS_DIRECTORY_PART, transaction, path, `${path}\0${offset}\0`));
      const cut = part.indexOf('\0');
      if (cut < 0) throw protocolError('directory_part without a generation');
      const current = part.slice(0, cut);
      if (generation !== null && current !== generation) {
        generation = null;
        list = '';
        continue;
      }
      generation = current;
      const names = part.slice(cut + 1);
      if (names === '') throw protocolError('directory_part without an end');
      list += names;
      if (list === '\0') return [];
      if (list.endsWith('\0\0')) return list.slice(0, -2).split('\0');
    }
  }

  #request(type: number, transaction: number, path: string, payload: string): Promise<Uint8Array> {
    const what = path === '' ? messageName(type) : `${messageName(type)} ${path}`;
    return new Promise((resolve, reject) => {
      if (this.#error !== null) throw this.#error;
      if (path !== '') checkPath(path, what);
      const bytes = encoder.encode(payload);
      if (bytes.length > XENSTORE_PAYLOAD_MAX) {
        throw new NetError('EMSGSIZE', {
          syscall: `xenstore ${what}`,
          reason: `${bytes.length} bytes; a message has ${XENSTORE_PAYLOAD_MAX} at most`,
        });
      }
      const id = this.#nextRequest;
      this.#nextRequest = id === 0x7fffffff ? 1 : id + 1;
      const message = new Uint8Array(XENSTORE_HEADER + bytes.length);
      writeHeader(message, 0, type, id, transaction, bytes.length);
      message.set(bytes, XENSTORE_HEADER);
      this.#waiting.push({ type, id, message, what, resolve, reject });
      this.#sendNext();
    });
  }

  #sendNext(): void {
    while (this.#current === null) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#current = request;
      try {
        this.#transport.send(request.message);
      } catch (error) {
        this.#current = null;
        request.reject(error as Error);
      }
    }
  }

  #received(bytes: Uint8Array): void {
    let at = 0;
    let all = bytes;
    if (this.#rest.length > 0) {
      all = new Uint8Array(this.#rest.length + bytes.length);
      all.set(this.#rest);
      all.set(bytes, this.#rest.length);
    }
    while (this.#error === null && all.length - at >= XENSTORE_HEADER) {
      const length = payloadLength(all, at);
      if (length > XENSTORE_PAYLOAD_MAX) {
        // Where the next message begins is not known any more.
        this.#fail(protocolError(`a message of ${length} bytes`));
        return;
      }
      const end = at + XENSTORE_HEADER + length;
      if (end > all.length) break;
      this.#message(messageType(all, at), requestId(all, at), all.slice(at + XENSTORE_HEADER, end));
      at = end;
    }
    this.#rest = at === all.length ? NOTHING : all.slice(at);
  }

  #message(type: number, id: number, payload: Uint8Array): void {
    if (type === XS_WATCH_EVENT) {
      // Path, token, and nothing else that this client has asked for.
      const [path, token] = strings(payload);
      if (path !== undefined && token !== undefined) this.#watches.get(token)?.(path);
      return;
    }
    const request = this.#current;
    // A reply that nobody waits for says nothing to anyone.
    if (request === null || request.id !== id) return;
    this.#current = null;
    if (type === XS_ERROR) request.reject(xenstoreError(strings(payload)[0] ?? '', request.what));
    else if (type === request.type) request.resolve(payload);
    else request.reject(protocolError(`${messageName(type)} in reply to ${request.what}`));
    this.#sendNext();
  }

  #fail(error: Error): void {
    if (this.#error !== null) return;
    this.#end(error);
    this.#closed(error);
  }

  #end(error: Error): void {
    this.#error = error;
    this.#rest = NOTHING;
    this.#watches.clear();
    this.#transport.close();
    this.#current?.reject(error);
    this.#current = null;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/** `E2BIG`: a list that has to be asked for in parts. */
class TooBig extends NetError {}

function xenstoreError(name: string, what: string): NetError {
  const syscall = `xenstore ${what}`;
  if (name === 'E2BIG') return new TooBig('EINVAL', { syscall, reason: `E2BIG: ${MEANING[name]}` });
  if (!CODES.has(name)) return new NetError('EINVAL', { syscall, reason: `xenstored answers ${name}` });
  const reason = MEANING[name];
  return new NetError(name as NetErrorCode, { syscall, ...(reason !== undefined && { reason }) });
}

function protocolError(reason: string): NetError {
  return new NetError('EPROTO', { syscall: 'xenstore', reason: `xenstored sent nonsense: ${reason}` });
}

function checkPath(path: string, what: string): void {
  const most = path.startsWith('/') ? XENSTORE_ABSOLUTE_PATH_MAX : XENSTORE_RELATIVE_PATH_MAX;
  const problem = path.includes('\0')
    ? 'a path has no zero bytes'
    : encoder.encode(path).length > most
      ? `a path has ${most} bytes at most`
      : null;
  if (problem !== null) throw new NetError('EINVAL', { syscall: `xenstore ${what}`, reason: problem });
}

function text(payload: Uint8Array): string {
  return decoder.decode(payload);
}

/** Strings that each end with a zero byte. */
function strings(payload: Uint8Array): string[] {
  const list = text(payload).split('\0');
  if (list.at(-1) === '') list.pop();
  return list;
}

async function orNull<T>(reply: Promise<T>): Promise<T | null> {
  try {
    return await reply;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

function hasCode(error: unknown, code: NetErrorCode): boolean {
  return error instanceof NetError && error.code === code;
}
