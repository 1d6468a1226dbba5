import hostDgram from 'node:dgram';
import hostNet from 'node:net';
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest';
import { createDgram, createNet, type NodeDgram, type NodeNet } from '../../src/net/index.ts';
import { SocketStack } from '../../src/socket/index.ts';

/** What Nodes after 20 have beside. */
const NEWER = new Set(['BoundSocket', 'bindSync', 'connectSync', 'getTypeOfService', 'setTypeOfService']);

/** Names that programs may use: no symbols, none with an underscore. */
function publicNames(object: object): string[] {
  return Object.getOwnPropertyNames(object).filter((name) => !name.startsWith('_') && !NEWER.has(name));
}

function kinds(object: object, names: readonly string[]): Record<string, string> {
  const kindOf = (name: string): string => {
    const descriptor = Object.getOwnPropertyDescriptor(object, name);
    if (descriptor === undefined) return 'missing';
    // Node makes some classes when they are first asked for.
    if (descriptor.get === undefined || /^[A-Z]/.test(name))
      return typeof object[name as keyof typeof object];
    return 'getter';
  };
  return Object.fromEntries(names.map((name) => [name, kindOf(name)]));
}

describe('the faces of node:net and node:dgram', () => {
  const stack = new SocketStack();
  const net = createNet(stack);
  const dgram = createDgram(stack);
  afterAll(() => stack.close());

  it('have the types of what they stand for', () => {
    expectTypeOf(net).toExtend<typeof import('node:net')>();
    expectTypeOf(dgram).toExtend<typeof import('node:dgram')>();
    const asNet: typeof import('node:net') = net;
    const asDgram: typeof import('node:dgram') = dgram;
    expectTypeOf<NodeNet>().toEqualTypeOf(asNet);
    expectTypeOf<NodeDgram>().toEqualTypeOf(asDgram);
    expectTypeOf(net.createServer).returns.toEqualTypeOf<hostNet.Server>();
    expectTypeOf(new net.Socket().remotePort).toEqualTypeOf<number | undefined>();
  });

  it.each([
    ['net', hostNet, net],
    ['net.Socket.prototype', hostNet.Socket.prototype, net.Socket.prototype],
    ['net.Server.prototype', hostNet.Server.prototype, net.Server.prototype],
    ['dgram', hostDgram, dgram],
    ['dgram.Socket.prototype', hostDgram.Socket.prototype, dgram.Socket.prototype],
    ['a socket', new hostNet.Socket(), new net.Socket()],
    ['a server', new hostNet.Server(), new net.Server()],
    ['a datagram socket', hostDgram.createSocket('udp4').unref(), dgram.createSocket('udp4')],
  ] as const)('%s has everything that the host has, of the same kind', (_name, host, ours) => {
    const names = publicNames(host);
    expect(names.length).toBeGreaterThan(0);
    expect(kinds(ours, names)).toEqual(kinds(host, names));
  });

  it('refuses with the errors of the host, word for word', () => {
    const attempts: ((its: NodeNet, of: NodeDgram) => unknown)[] = [
      (its) => its.connect({} as never),
      (its) => its.connect(70_000),
      (its) => its.connect({ port: {} as never }),
      (its) => its.connect({ port: 1, localAddress: 'nowhere' }),
      (its) => its.connect({ port: 1, host: 'x', lookup: 1 as never }),
      (its) => its.connect({ port: 1, autoSelectFamily: 1 as never }),
      (its) => new its.Socket({ objectMode: true } as never),
      (its) => new its.Socket({ signal: 1 } as never),
      (its) => new its.Socket().setTimeout('soon' as never),
      (its) => new its.Socket().setTimeout(-1),
      (its) => new its.Socket().setTimeout(1, 'then' as never),
      (its) => its.createServer('x' as never),
      (its) => its.createServer({ keepAliveInitialDelay: 'x' } as never),
      (its) => its.createServer({ highWaterMark: 'x' } as never),
      (its) => its.createServer().listen({} as never),
      (its) => its.createServer().listen({ port: -1 }),
      (its) => its.createServer().listen({ path: 7 } as never),
      (its) => its.createServer().listen({ port: 0, signal: 'x' } as never),
      (its) => its.setDefaultAutoSelectFamily('x' as never),
      (its) => its.setDefaultAutoSelectFamilyAttemptTimeout(-1),
      (_, of) => of.createSocket('udp5' as never),
      (_, of) => of.createSocket({ type: 'udp4', recvBufferSize: -1 }),
      (_, of) => of.createSocket({ type: 'udp4', lookup: 1 as never }),
      (_, of) => of.createSocket('udp4').send(7 as never, 1),
      (_, of) => of.createSocket('udp4').send('x', 0),
      (_, of) => of.createSocket('udp4').send('x', 1, 7 as never),
      (_, of) => of.createSocket('udp4').send(Buffer.alloc(2), 3, 1, 1),
      (_, of) => of.createSocket('udp4').connect(0),
      (_, of) => of.createSocket('udp4').disconnect(),
      (_, of) => of.createSocket('udp4').remoteAddress(),
      (_, of) => of.createSocket('udp4').setTTL('x' as never),
      (_, of) => of.createSocket('udp4').getRecvBufferSize(),
      (_, of) => of.createSocket('udp4').setRecvBufferSize(-1),
      (_, of) => of.createSocket('udp4').addMembership(undefined as never),
      (_, of) => of.createSocket('udp4').setMulticastInterface(7 as never),
    ];
    const failure = (attempt: () => unknown): unknown => {
      try {
        attempt();
      } catch (error) {
        const { message, code, name } = error as Error & { code: string };
        const kinds = [Error, TypeError, RangeError].filter((kind) => error instanceof kind);
        return { kinds, name, code, message, text: String(error) };
      }
      return 'nothing was thrown';
    };
    const told = (its: NodeNet, of: NodeDgram): unknown =>
      attempts.map((attempt) => ({ attempt: String(attempt), failure: failure(() => attempt(its, of)) }));
    expect(told(net, dgram)).toEqual(told(hostNet, hostDgram));
  });
});
