import { describe, expect, it } from 'vitest';
import { openTap, type TapOptions } from '../../src/netif/tap/index.ts';

describe('openTap refuses before any system call', () => {
  it.each<[string, TapOptions, RegExp]>([
    ['a name of 16 bytes', { name: 'a-name-of-16-byt' }, /has 16 bytes; 1 to 15/],
    ['a name of 15 letters and more bytes', { name: 'ääääääääääääääc' }, /has 29 bytes/],
    ['an empty name', { name: '' }, /has 0 bytes/],
    ['a slash', { name: 'tap/0' }, /characters that the kernel refuses/],
    ['a colon', { name: 'tap:0' }, /characters that the kernel refuses/],
    ['a space', { name: 'tap 0' }, /characters that the kernel refuses/],
    ['a zero byte', { name: 'tap\0x' }, /characters that the kernel refuses/],
    ['a dot', { name: '.' }, /characters that the kernel refuses/],
    ['two dots', { name: '..' }, /characters that the kernel refuses/],
    ['another format', { name: 'tap%s' }, /one %d/],
    ['two formats', { name: 'tap%d%d' }, /one %d/],
    ['name and descriptor', { name: 'tap0', fd: 3 }, /not both/],
    ['queues of a descriptor', { fd: 3, multiQueue: true }, /an fd is one queue/],
    ['a negative descriptor', { fd: -1 }, /fd -1/],
    ['half a descriptor', { fd: 1.5 }, /fd 1.5/],
    ['a tiny MTU', { mtu: 67 }, /mtu 67 is not an integer within 68..65521/],
    ['a huge MTU', { mtu: 65522 }, /mtu 65522/],
    ['an empty batch', { batchFrames: 0 }, /batchFrames 0/],
    ['no queue', { queueFrames: 0 }, /queueFrames 0/],
    ['no send buffer', { sendBuffer: 0 }, /sendBuffer 0/],
    ['no address', { hostAddress: 'host' }, /hostAddress "host"/],
    ['an address out of range', { hostAddress: '10.0.0.1/33' }, /hostAddress "10.0.0.1\/33"/],
    ['no MAC', { mac: '02:00' }, /mac 02:00 cannot be read/],
    ['a group', { mac: '01:00:5e:00:00:01' }, /not a station's address/],
    ['the zero MAC', { mac: '00:00:00:00:00:00' }, /not a station's address/],
  ])('%s', (_, options, message) => {
    expect(() => openTap(options)).toThrow(
      expect.objectContaining({
        code: 'EINVAL',
        syscall: 'openTap',
        message: expect.stringMatching(message),
      }),
    );
  });
});
