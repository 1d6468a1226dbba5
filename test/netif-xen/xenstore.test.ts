import { beforeEach, describe, expect, it, vi } from 'vitest';
import {
  XenstoreClient,
  type XenstoreTransport,
  type XenstoreTransportHandler,
} from '../../src/netif/xen/xenstore.ts';
import * as wire from '../../src/netif/xen/xenstore-wire.ts';

interface Request {
  readonly type: number;
  readonly id: number;
  readonly transaction: number;
  readonly payload: string;
}

/** The far end of the transport: it answers as the test's script says. */
class ScriptedPeer implements XenstoreTransport {
  readonly requests: Request[] = [];
  handler!: XenstoreTransportHandler;
  open = true;
  /** What answers a request, at once; nothing where it gives null. */
  answer: (request: Request) => { type?: number; id?: number; payload: string } | null = () => null;

  start(handler: XenstoreTransportHandler): void {
    this.handler = handler;
  }

  send(message: Uint8Array): void {
    expect(wire.payloadLength(message, 0)).toBe(message.length - wire.XENSTORE_HEADER);
    const request = {
      type: wire.messageType(message, 0),
      id: wire.requestId(message, 0),
      transaction: wire.transactionId(message, 0),
      payload: Buffer.from(message.subarray(wire.XENSTORE_HEADER)).toString(),
    };
    this.requests.push(request);
    const reply = this.answer(request);
    if (reply !== null) this.reply(request, reply.payload, reply.type, reply.id);
  }

  close(): void {
    this.open = false;
  }

  reply(request: Request, payload: string, type = request.type, id = request.id): void {
    this.handler.received(message(type, id, request.transaction, payload));
  }

  event(path: string, token: string): void {
    this.handler.received(message(wire.XS_WATCH_EVENT, 0, 0, `${path}\0${token}\0`));
  }
}

function message(type: number, id: number, transaction: number, payload: string): Uint8Array {
  const bytes = Buffer.from(payload);
  const all = new Uint8Array(wire.XENSTORE_HEADER + bytes.length);
  wire.writeHeader(all, 0, type, id, transaction, bytes.length);
  all.set(bytes, wire.XENSTORE_HEADER);
  return all;
}

const ERROR = (name: string) => ({ type: wire.XS_ERROR, payload: `${name}\0` });

let peer: ScriptedPeer;
let closed: ReturnType<typeof vi.fn<(error: Error) => void>>;
let store: XenstoreClient;

beforeEach(() => {
  peer = new ScriptedPeer();
  closed = vi.fn();
  store = new XenstoreClient(peer, closed);
});

describe('the header', () => {
  it('is four little-endian words', () => {
    expect([...message(wire.XS_READ, 0x01020304, 0x0a0b0c0d, 'ab')]).toEqual([
      2, 0, 0, 0, 4, 3, 2, 1, 0x0d, 0x0c, 0x0b, 0x0a, 2, 0, 0, 0, 97, 98,
    ]);
  });
});

describe('nodes', () => {
  it('are read: the path ends with a zero byte, the value does not', async () => {
    peer.answer = () => ({ payload: 'Domain-0' });
    expect(await store.read('/local/domain/0/name')).toBe('Domain-0');
    expect(peer.requests).toMatchObject([
      { type: wire.XS_READ, transaction: 0, payload: '/local/domain/0/name\0' },
    ]);
  });

  it('that are missing are null', async () => {
    peer.answer = () => ERROR('ENOENT');
    expect(await store.read('/none')).toBeNull();
    expect(await store.list('/none')).toBeNull();
    await store.remove('/none');
  });

  it('are written, made, removed and given away', async () => {
    peer.answer = () => ({ payload: 'OK\0' });
    await store.write('/a/state', '4');
    await store.makeDirectory('/a/b');
    await store.remove('/a/b');
    await store.setPermissions('/a', ['n0', 'r3']);
    expect(peer.requests.map(({ type, payload }) => [type, payload])).toEqual([
      [wire.XS_WRITE, '/a/state\x004'],
      [wire.XS_MKDIR, '/a/b\0'],
      [wire.XS_RM, '/a/b\0'],
      [wire.XS_SET_PERMS, '/a\0n0\0r3\0'],
    ]);
  });

  it('are listed', async () => {
    peer.answer = () => ({ payload: 'state\0mac\0' });
    expect(await store.list('/a')).toEqual(['state', 'mac']);
    peer.answer = () => ({ payload: '' });
    expect(await store.list('/a')).toEqual([]);
  });

  it('that are too many for a message are listed in parts', async () => {
    const names = Array.from({ length: 900 }, (_, index) => `node-${index}`);
    const list = `${names.join('\0')}\0`;
    peer.answer = ({ type, payload }) => {
      if (type === wire.XS_DIRECTORY) return ERROR('E2BIG');
      expect(type).toBe(wire.XS_DIRECTORY_PART);
      const offset = Number(payload.split('\0')[1]);
      const part = list.slice(offset, offset + 4000);
      return { payload: `77\0${part}${offset + 4000 >= list.length ? '\0' : ''}` };
    };
    expect(await store.list('/many')).toEqual(names);
    expect(peer.requests.map(({ payload }) => payload.split('\0')[1])).toEqual(['', '0', '4000']);
  });

  it('that change while they are listed in parts are listed anew', async () => {
    const parts = ['1\0a\0b\0', '2\0c\0', '2\0a\0b\0', '2\0c\0\0'];
    peer.answer = ({ type }) =>
      type === wire.XS_DIRECTORY ? ERROR('E2BIG') : { payload: parts.shift() ?? '' };
    expect(await store.list('/many')).toEqual(['a', 'b', 'c']);
    expect(peer.requests.slice(1).map(({ payload }) => payload.split('\0')[1])).toEqual(['0', '4', '0', '4']);
  });
});

describe('errors', () => {
  it('have the code and say what was asked', async () => {
    peer.answer = () => ERROR('EACCES');
    await expect(store.write('/local/domain/1/x', '1')).rejects.toMatchObject({
      code: 'EACCES',
      message: 'xenstore write /local/domain/1/x EACCES: the node belongs to another domain',
    });
  });

  it('without a code of ours keep their name', async () => {
    peer.answer = () => ERROR('EROFS');
    await expect(store.write('/x', '1')).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('EROFS'),
    });
  });

  it('of the caller are found before anything is sent', async () => {
    await expect(store.read('/a\0b')).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(store.read(`/${'x'.repeat(3072)}`)).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(store.read('x'.repeat(2049))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(store.write('/a', 'x'.repeat(4094))).rejects.toMatchObject({ code: 'EMSGSIZE' });
    expect(peer.requests).toEqual([]);
  });

  it('of the transport are those of the request', async () => {
    peer.send = () => {
      throw new Error('no more');
    };
    await expect(store.read('/a')).rejects.toThrow('no more');
  });
});

describe('replies', () => {
  it('are awaited before the next request is sent', async () => {
    const values = [store.read('/a'), store.read('/b'), store.read('/c')];
    for (const [index, value] of ['A', 'B', 'C'].entries()) {
      expect(peer.requests).toHaveLength(index + 1);
      peer.reply(peer.requests[index]!, value);
    }
    expect(await Promise.all(values)).toEqual(['A', 'B', 'C']);
  });

  it('that are errors let the next request go too', async () => {
    const values = [store.read('/a'), store.write('/b', '1'), store.read('/c')];
    peer.reply(peer.requests[0]!, 'ENOENT\0', wire.XS_ERROR);
    peer.reply(peer.requests[1]!, 'EACCES\0', wire.XS_ERROR);
    peer.reply(peer.requests[2]!, 'C');
    expect((await Promise.allSettled(values)).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
  });

  it('may be cut anywhere and come together', async () => {
    const values = [store.read('/a'), store.read('/b')];
    // Ids count up from 1.
    const stream = Buffer.concat([
      message(wire.XS_READ, 1, 0, 'first'),
      message(wire.XS_WATCH_EVENT, 0, 0, 'path\0none\0'),
      message(wire.XS_READ, 2, 0, 'second'),
    ]);
    // The buffer is one that the transport reuses.
    const reused = new Uint8Array(1);
    for (const byte of stream) {
      reused[0] = byte;
      peer.handler.received(reused);
    }
    expect(await Promise.all(values)).toEqual(['first', 'second']);
  });

  it('that nobody asked for are dropped', async () => {
    const value = store.read('/a');
    const [a] = peer.requests as [Request];
    peer.reply(a, 'other', wire.XS_READ, a.id + 1);
    peer.reply(a, 'right');
    expect(await value).toBe('right');
  });

  it('of another kind than the request fail it', async () => {
    peer.answer = () => ({ type: wire.XS_MKDIR, payload: 'OK\0' });
    await expect(store.read('/a')).rejects.toMatchObject({ code: 'EPROTO' });
  });

  it('of an impossible length end the connection', async () => {
    const value = store.read('/a');
    const header = new Uint8Array(wire.XENSTORE_HEADER);
    wire.writeHeader(header, 0, wire.XS_READ, 1, 0, -1);
    peer.handler.received(header);
    await expect(value).rejects.toMatchObject({ code: 'EPROTO' });
    expect(closed).toHaveBeenCalledOnce();
    expect(peer.open).toBe(false);
    await expect(store.read('/a')).rejects.toMatchObject({ code: 'EPROTO' });
  });
});

describe('a watch', () => {
  beforeEach(() => {
    peer.answer = () => ({ payload: 'OK\0' });
  });

  it('hears of every change at its path, and of the first before the reply', async () => {
    const seen: string[] = [];
    peer.answer = ({ payload }) => {
      const [path, token] = payload.split('\0') as [string, string];
      peer.event(path, token);
      return { payload: 'OK\0' };
    };
    await store.watch('/be', (path) => seen.push(path));
    const token = peer.requests[0]!.payload.split('\0')[1]!;
    peer.event('/be/state', token);
    expect(seen).toEqual(['/be', '/be/state']);
  });

  it('of the same path is another watch', async () => {
    const seen: string[] = [];
    await store.watch('/be', () => seen.push('one'));
    await store.watch('/be', () => seen.push('two'));
    const tokens = peer.requests.map(({ payload }) => payload.split('\0')[1]!);
    peer.event('/be', tokens[1]!);
    expect(seen).toEqual(['two']);
  });

  it('that is closed hears nothing, not even what was under way', async () => {
    const changed = vi.fn();
    const watch = await store.watch('/be', changed);
    const { payload } = peer.requests[0]!;
    peer.answer = () => {
      peer.event('/be/state', payload.split('\0')[1]!);
      return { payload: 'OK\0' };
    };
    await watch.close();
    await watch.close();
    expect(changed).not.toHaveBeenCalled();
    expect(peer.requests.map(({ type }) => type)).toEqual([wire.XS_WATCH, wire.XS_UNWATCH]);
    expect(peer.requests[1]!.payload).toBe(payload);
  });

  it('that xenstored refuses is none', async () => {
    peer.answer = () => ERROR('ENOSPC');
    const changed = vi.fn();
    await expect(store.watch('/be', changed)).rejects.toMatchObject({ code: 'ENOSPC' });
    peer.event('/be', peer.requests[0]!.payload.split('\0')[1]!);
    expect(changed).not.toHaveBeenCalled();
  });

  it('ignores events that make no sense', async () => {
    const changed = vi.fn();
    await store.watch('/be', changed);
    for (const payload of ['', '\0', 'a', `/be\0${999}\0`]) {
      peer.handler.received(message(wire.XS_WATCH_EVENT, 0, 0, payload));
    }
    expect(changed).not.toHaveBeenCalled();
  });
});

describe('a transaction', () => {
  const script = (ends: string[]) => {
    let transaction = 40;
    peer.answer = ({ type }) => {
      switch (type) {
        case wire.XS_TRANSACTION_START:
          return { payload: `${++transaction}\0` };
        case wire.XS_TRANSACTION_END: {
          const end = ends.shift() ?? 'OK';
          return end === 'OK' ? { payload: 'OK\0' } : ERROR(end);
        }
        default:
          return { payload: 'OK\0' };
      }
    };
  };
  const ends = () => peer.requests.filter(({ type }) => type === wire.XS_TRANSACTION_END);

  it('does its work under its number and commits', async () => {
    script([]);
    const result = await store.transaction(async (nodes) => {
      await nodes.write('/a', '1');
      return nodes.read('/b');
    });
    expect(result).toBe('OK\0');
    expect(peer.requests.map(({ type, transaction }) => [type, transaction])).toEqual([
      [wire.XS_TRANSACTION_START, 0],
      [wire.XS_WRITE, 41],
      [wire.XS_READ, 41],
      [wire.XS_TRANSACTION_END, 41],
    ]);
    expect(ends()[0]!.payload).toBe('T\0');
  });

  it('in conflict runs again, whole, under a new number', async () => {
    script(['EAGAIN', 'EAGAIN', 'OK']);
    let runs = 0;
    await store.transaction(async (nodes) => {
      runs++;
      await nodes.write('/a', `${runs}`);
    });
    expect(runs).toBe(3);
    expect(ends().map(({ transaction }) => transaction)).toEqual([41, 42, 43]);
  });

  it('in conflict for ever gives up', async () => {
    script(Array.from({ length: 1000 }, () => 'EAGAIN'));
    await expect(store.transaction(async () => {})).rejects.toMatchObject({ code: 'EAGAIN' });
    expect(ends()).toHaveLength(64);
  });

  it('whose work throws is aborted, and the error is the one of the work', async () => {
    script([]);
    await expect(
      store.transaction(async (nodes) => {
        await nodes.write('/a', '1');
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(ends().map(({ payload }) => payload)).toEqual(['F\0']);
  });

  it('without a number is nonsense', async () => {
    peer.answer = () => ({ payload: 'OK\0' });
    await expect(store.transaction(async () => {})).rejects.toMatchObject({ code: 'EPROTO' });
  });
});

describe('the end', () => {
  it('by close() fails what waits, and is no news', async () => {
    const value = store.read('/a');
    store.close();
    store.close();
    await expect(value).rejects.toMatchObject({ code: 'EPIPE' });
    await expect(store.read('/a')).rejects.toMatchObject({ code: 'EPIPE' });
    expect(closed).not.toHaveBeenCalled();
    expect(peer.open).toBe(false);
  });

  it('by itself is told with the reason', async () => {
    const value = store.read('/a');
    const reason = new Error('xenstored is gone');
    peer.handler.failed(reason);
    await expect(value).rejects.toBe(reason);
    expect(closed).toHaveBeenCalledExactlyOnceWith(reason);
  });

  it('makes closing a watch a formality', async () => {
    peer.answer = () => ({ payload: 'OK\0' });
    const watch = await store.watch('/be', () => {});
    store.close();
    await watch.close();
  });
});
