import type { RemoteInfo, Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDgram, type NodeDgram } from '../../src/net/index.ts';
import { connectedStacks, HERE, type Pair, THERE } from './stacks.ts';

describe('dgram on a direct stack', () => {
  let pair: Pair;
  let here: NodeDgram;
  let there: NodeDgram;
  let receiver: Socket;

  beforeEach(async () => {
    pair = await connectedStacks();
    here = createDgram(pair.here);
    there = createDgram(pair.there);
    receiver = there.createSocket('udp4');
    receiver.bind(5000);
    await once(receiver, 'listening');
  });
  afterEach(() => pair.close());

  it('sends what is given in parts as one datagram, and says from where', async () => {
    const sender = here.createSocket('udp4');
    const sent = new Promise((resolve) => {
      sender.send(['one ', Buffer.from('datagram')], 5000, 'there.test', (error, bytes) =>
        resolve([error, bytes]),
      );
    });
    const [message, info] = (await once(receiver, 'message')) as [Buffer, RemoteInfo];
    expect(message.toString()).toBe('one datagram');
    expect(info).toEqual({ address: HERE, family: 'IPv4', port: sender.address().port, size: 12 });
    expect(await sent).toEqual([null, 12]);
  });

  it('sends a range of a buffer', async () => {
    here.createSocket('udp4').send(Buffer.from('0123456789'), 3, 4, 5000, THERE);
    const [message] = (await once(receiver, 'message')) as [Buffer];
    expect(message.toString()).toBe('3456');
  });

  it('is told by its peer that nobody listens, once connected', async () => {
    const sender = here.createSocket('udp4');
    sender.connect(5001, THERE);
    await once(sender, 'connect');
    expect(sender.remoteAddress()).toEqual({ address: THERE, family: 'IPv4', port: 5001 });
    sender.send('anybody?');
    const [error] = (await once(sender, 'error')) as [Error];
    expect(error).toMatchObject({ message: 'recvmsg ECONNREFUSED', code: 'ECONNREFUSED' });
    sender.disconnect();
    expect(() => sender.remoteAddress()).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' }),
    );
  });

  it('broadcasts only when allowed to', async () => {
    const sender = here.createSocket('udp4');
    await new Promise<void>((resolve) => sender.bind(resolve));
    const send = (): Promise<Error | null> =>
      new Promise((resolve) => sender.send('all', 5000, '10.0.0.255', (error) => resolve(error)));
    expect(await send()).toMatchObject({ code: 'EACCES', message: 'send EACCES 10.0.0.255:5000' });
    sender.setBroadcast(true);
    expect(await send()).toBeNull();
    const [message] = (await once(receiver, 'message')) as [Buffer];
    expect(message.toString()).toBe('all');
  });

  it('has the buffer sizes that Linux would show', async () => {
    const socket = here.createSocket({ type: 'udp4', recvBufferSize: 10_000 });
    expect(() => socket.getRecvBufferSize()).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_BUFFER_SIZE' }),
    );
    await new Promise<void>((resolve) => socket.bind(resolve));
    expect(socket.getRecvBufferSize()).toBe(20_000);
    expect(socket.setTTL(3)).toBe(3);
    expect(() => socket.setTTL(300)).toThrow('setTTL EINVAL');
  });

  it('closes once', async () => {
    const closed = once(receiver, 'close');
    receiver.close();
    await closed;
    expect(() => receiver.close()).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' }));
  });
});
