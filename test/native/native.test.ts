import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { NetError } from '../../src/errors.ts';
import {
  allocateNative,
  Descriptor,
  Errno,
  errnoName,
  isRetry,
  type Readiness,
  systemError,
  Watch,
} from '../../src/native/index.ts';

/** As built (`npm run build`; `npm test` does it first). */
const NATIVE = fileURLToPath(new URL('../../dist/native/index.js', import.meta.url));

const linux = process.platform === 'linux';

describe('systemError', () => {
  it('has Node’s code, the call, and a sentence', () => {
    const error = systemError(Errno.EBUSY, 'ioctl TUNSETIFF');
    expect(error).toBeInstanceOf(NetError);
    expect(error).toMatchObject({ code: 'EBUSY', syscall: 'ioctl TUNSETIFF' });
    expect(error.message).toBe('ioctl TUNSETIFF EBUSY: in use by another process or descriptor');
  });

  it('prefers the reason that the caller knows', () => {
    expect(systemError(Errno.EPERM, 'open', 'ask an administrator').message).toBe(
      'open EPERM: ask an administrator',
    );
  });

  it('tells the number where it has no name', () => {
    expect(systemError(117, 'read').message).toBe('read EINVAL: the kernel answers errno 117');
    expect(errnoName(117)).toBe('errno 117');
    expect(errnoName(Errno.EAGAIN)).toBe('EAGAIN');
  });
});

describe.skipIf(!linux)('Mapping', () => {
  it('is memory of the device, and zeroes once it is unmapped', () => {
    const descriptor = Descriptor.open('/dev/zero');
    const mapping = descriptor.map(8192, 0, '/dev/zero');
    mapping.bytes[4096] = 7;
    expect(mapping.bytes).toHaveLength(8192);
    // The kernel sees it at the address that it is said to have.
    const pipe = Descriptor.open('/dev/null');
    expect(pipe.write(mapping, 4096, 1)).toBe(1);
    mapping.unmap();
    mapping.unmap();
    expect(mapping.bytes[4096]).toBe(0);
    mapping.bytes[4096] = 9;
    expect(mapping.bytes[4096]).toBe(9);
    descriptor.close();
    pipe.close();
  });

  it('that the device refuses says why', () => {
    const descriptor = Descriptor.open('/dev/null');
    const map = () => descriptor.map(4096, 0, '/dev/null', { [Errno.ENODEV]: 'it has no memory' });
    expect(map).toThrow('mmap /dev/null ENODEV: it has no memory');
    descriptor.close();
  });
});

describe.skipIf(!linux)('Descriptor', () => {
  const open: Descriptor[] = [];
  const device = (path: string): Descriptor => {
    const descriptor = Descriptor.open(path);
    open.push(descriptor);
    return descriptor;
  };

  afterEach(() => {
    for (const descriptor of open.splice(0)) descriptor.close();
  });

  it('reads into memory at an offset, and nowhere else', () => {
    const memory = allocateNative(100);
    memory.bytes.fill(7);
    expect(device('/dev/zero').read(memory, 10, 20)).toBe(20);
    expect(memory.bytes.indexOf(0)).toBe(10);
    expect(memory.bytes.lastIndexOf(0)).toBe(29);
  });

  it('writes from memory at an offset', () => {
    const memory = allocateNative(16);
    expect(device('/dev/null').write(memory, 4, 8)).toBe(8);
  });

  it('answers with a negative error number on the data path', () => {
    const memory = allocateNative(16);
    expect(device('/dev/full').write(memory, 0, 8)).toBe(-Errno.ENOSPC);
    expect(isRetry(-Errno.EAGAIN)).toBe(true);
    expect(isRetry(-Errno.ENOSPC)).toBe(false);
  });

  it('throws what a person can act on elsewhere', () => {
    expect(() => Descriptor.open('/dev/not-there')).toThrow(
      'open /dev/not-there ENOENT: no such file or device',
    );
    expect(() => Descriptor.open('/dev/not-there', { [Errno.ENOENT]: 'load the module' })).toThrow(
      'open /dev/not-there ENOENT: load the module',
    );
    expect(() => device('/dev/null').ioctl(0x800454d2, Buffer.alloc(40), 'TUNGETIFF')).toThrow(
      expect.objectContaining({ code: 'ENOTTY', syscall: 'ioctl TUNGETIFF' }),
    );
  });

  it('makes a descriptor from elsewhere non-blocking', () => {
    const path = fifo();
    const blocking = new Descriptor(openSync(path, 'r+'));
    unlinkSync(path);
    blocking.setNonBlocking();
    blocking.setNonBlocking();
    expect(blocking.read(allocateNative(8), 0, 8)).toBe(-Errno.EAGAIN);
    blocking.close();
  });

  it('closes once, and not what has its number since', () => {
    const first = Descriptor.open('/dev/null');
    first.close();
    const second = openSync('/dev/null', 'r');
    first.close();
    closeSync(second);
  });
});

describe.skipIf(!linux)('Watch', () => {
  const idle: Readiness = { readable() {}, writable() {}, failed() {} };
  const tick = () => new Promise((resolve) => setTimeout(resolve, 20));

  it('calls while there is something to read, and promises go on after it', async () => {
    const ends = pipe();
    const order: string[] = [];
    const memory = allocateNative(8);
    const watch = new Watch(ends.reader.fd, {
      ...idle,
      readable() {
        ends.reader.read(memory, 0, 1);
        order.push('readable');
        void Promise.resolve().then(() => order.push('promise'));
        process.nextTick(() => order.push('tick'));
      },
    });
    ends.writer.write(memory, 0, 2);
    await vi.waitFor(() => expect(order).toHaveLength(6));
    const each = ['readable', 'tick', 'promise'];
    // Newer ones run them after the calls of a turn, which may be two.
    if (Number.parseInt(process.versions.node, 10) < 25) expect(order).toEqual([...each, ...each]);
    else expect(order.sort()).toEqual([...each, ...each].sort());
    watch.close();
    ends.close();
  });

  it('lets promises go on where nothing else happens in the event loop', () => {
    // The descriptor is written from another process, so that no event of this one comes to help.
    const script = `
      import { Watch } from '${NATIVE}';
      const watch = new Watch(0, {
        readable() {
          const called = performance.now();
          watch.close();
          void Promise.resolve().then(() => console.log(performance.now() - called < 500 ? 'at once' : 'late'));
        },
        writable() {},
        failed() {},
      });
      setTimeout(() => {}, 1500);`;
    const node = `${process.execPath} --input-type=module -e "$0"`;
    const out = execFileSync('sh', ['-c', `(sleep 0.5; echo) | ${node}`, script], { encoding: 'utf8' });
    expect(out).toBe('at once\n');
  });

  it('calls for room only when asked to', async () => {
    const ends = pipe();
    let room = 0;
    const watch = new Watch(ends.writer.fd, {
      ...idle,
      writable() {
        room++;
        watch.setWritable(false);
      },
    });
    await tick();
    expect(room).toBe(0);
    watch.setWritable(true);
    await tick();
    expect(room).toBe(1);
    watch.close();
    ends.close();
  });

  it('calls no more after close, from within a call too, and may be closed twice', async () => {
    const ends = pipe();
    let calls = 0;
    const watch = new Watch(ends.reader.fd, {
      ...idle,
      readable() {
        calls++;
        watch.close();
        watch.close();
        watch.setWritable(true);
      },
    });
    ends.writer.write(allocateNative(8), 0, 8);
    await tick();
    expect(calls).toBe(1);
    ends.close();
  });

  it('says that the descriptor failed', async () => {
    const ends = pipe();
    const failed = vi.fn();
    const watch = new Watch(ends.writer.fd, { ...idle, failed });
    watch.setWritable(true);
    ends.reader.close();
    await tick();
    expect(failed).toHaveBeenCalledOnce();
    ends.close();
  });

  it('raises what a call throws as an uncaught exception, where it is seen', async () => {
    const ends = pipe();
    const watch = new Watch(ends.reader.fd, {
      ...idle,
      readable() {
        watch.close();
        throw new Error('from a handler');
      },
    });
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const seen = new Promise<Error>((resolve) => process.once('uncaughtException', resolve));
    ends.writer.write(allocateNative(8), 0, 8);
    expect((await seen).message).toBe('from a handler');
    for (const listener of listeners) process.on('uncaughtException', listener);
    ends.close();
  });

  it('survives garbage collection without a reference', async () => {
    const ends = pipe();
    let calls = 0;
    const memory = allocateNative(8);
    const watch = new WeakRef(
      new Watch(ends.reader.fd, {
        ...idle,
        readable() {
          calls++;
          ends.reader.read(memory, 0, 8);
        },
      }),
    );
    await tick();
    collectGarbage();
    await tick();
    ends.writer.write(memory, 0, 1);
    await tick();
    expect(calls).toBe(1);
    watch.deref()!.close();
    ends.close();
  });

  it('lets the process end, readable or not, once it is unreferenced', () => {
    const path = fifo();
    const script = `
      import { allocateNative, Descriptor } from ${JSON.stringify(new URL('../../dist/native/index.js', import.meta.url))};
      const fifo = Descriptor.open(${JSON.stringify(path)});
      fifo.watch({ readable() {}, writable() {}, failed() {} }).unref();
      process.on('exit', () => console.log(fifo.write(allocateNative(1), 0, 1)));
    `;
    try {
      const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
      expect(output).toBe('1\n');
    } finally {
      unlinkSync(path);
    }
  });
});

interface Pipe {
  readonly reader: Descriptor;
  readonly writer: Descriptor;
  close(): void;
}

/** Two ends of a pipe, non-blocking. */
function pipe(): Pipe {
  const path = fifo();
  const reader = new Descriptor(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
  const writer = new Descriptor(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  unlinkSync(path);
  return {
    reader,
    writer,
    close() {
      reader.close();
      writer.close();
    },
  };
}

let fifos = 0;

function fifo(): string {
  fifos++;
  const path = join(tmpdir(), `mnd-fifo-${process.pid}-${fifos}`);
  execFileSync('mkfifo', [path]);
  return path;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}
