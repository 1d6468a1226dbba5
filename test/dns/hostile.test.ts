import packet from 'dns-packet';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DirectStack } from '../../src/direct/index.ts';
import { decode } from '../../src/dns/message.ts';
import { endOfName, isSound, matches } from '../../src/dns/sound.ts';
import { DNS, DnsLan, dnsOf } from './lan.ts';

let lan: DnsLan;
beforeEach(() => {
  lan = new DnsLan();
});
afterEach(() => lan.close());

const A = (name: string, data: string): packet.Answer => ({ type: 'A', name, data, ttl: 60, class: 'IN' });

/** A server of whose answers each test decides; `answer` may give several datagrams. */
async function fakeServer(
  answer: (query: packet.DecodedPacket, bytes: Buffer) => readonly Uint8Array[],
): Promise<DirectStack> {
  const stack = await lan.host(`${DNS}/24`);
  const socket = await stack.udp.bind({ port: 53 });
  void (async () => {
    for await (const { data, remote } of socket) {
      const bytes = Buffer.from(data);
      for (const reply of answer(packet.decode(bytes), bytes)) {
        await socket.send(reply, { host: remote.address, port: remote.port });
      }
    }
  })();
  return stack;
}

function reply(query: packet.DecodedPacket, answers: packet.Answer[], more: packet.Packet = {}): Buffer {
  return packet.encode({
    type: 'response',
    id: query.id!,
    flags: packet.RECURSION_AVAILABLE,
    questions: query.questions!,
    answers,
    ...more,
  });
}

const client = (): Promise<DirectStack> => lan.host('10.0.0.2/24', { dns: [DNS] });

describe('answers that are none', () => {
  it('with another id or question are passed over, and the right one is taken', async () => {
    await fakeServer((query) => [
      reply(query, [A('www.test', '6.6.6.6')], { id: (query.id! + 1) & 0xffff }),
      reply(query, [A('www.test', '6.6.6.6')], { questions: [{ type: 'A', name: 'xyz.test' }] }),
      reply(query, [A('www.test', '6.6.6.6')], { type: 'query' }),
      Uint8Array.of(1, 2, 3),
      reply(query, [A('www.test', '10.0.0.80')]),
    ]);
    const stack = await client();
    expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
    expect(dnsOf(stack).mismatches).toBe(4);
  });

  it('from another port or host never arrive', async () => {
    const server = await lan.host(`${DNS}/24`);
    const rogue = await lan.host('10.0.0.66/24');
    const [proper, other] = [await server.udp.bind({ port: 53 }), await server.udp.bind()];
    const spoof = await rogue.udp.bind({ port: 53 });
    void (async () => {
      for await (const { data, remote } of proper) {
        const bytes = reply(packet.decode(Buffer.from(data)), [A('www.test', '6.6.6.6')]);
        const to = { host: remote.address, port: remote.port };
        await other.send(bytes, to);
        await spoof.send(bytes, to);
      }
    })();
    const stack = await client();
    await expect(lan.run(stack.resolve('www.test'))).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(dnsOf(stack).mismatches).toBe(0);
  });

  it('in great number make it ask by TCP, which cannot be guessed', async () => {
    const server = await fakeServer((query) =>
      Array.from({ length: 20 }, (_, i) =>
        reply(query, [A('www.test', '6.6.6.6')], { id: (query.id! + i + 1) & 0xffff }),
      ),
    );
    await listen(server, (query) => reply(query, [A('www.test', '10.0.0.80')]));
    const stack = await client();
    expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
    expect(dnsOf(stack)).toMatchObject({ tcpQueries: 1, mismatches: 8 });
  });

  it('that spell the name in their own way make it ask by TCP', async () => {
    const server = await fakeServer((query) => [
      reply(query, [A('www.test', '6.6.6.6')], { questions: [{ type: 'A', name: 'www.test' }] }),
    ]);
    await listen(server, (query) =>
      reply(query, [A('www.test', '10.0.0.80')], { questions: [{ type: 'A', name: 'www.test' }] }),
    );
    const stack = await client();
    expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
  });

  it('tell of other names what nobody asked: not believed, not remembered', async () => {
    await fakeServer((query) =>
      query.questions![0]!.name.toLowerCase() === 'www.test'
        ? [
            reply(query, [A('bank.test', '6.6.6.6'), A('www.test', '10.0.0.80')], {
              additionals: [A('bank.test', '6.6.6.6')],
              authorities: [{ type: 'NS', name: 'test', data: 'evil.test', ttl: 9, class: 'IN' }],
            }),
          ]
        : [reply(query, [A('bank.test', '10.0.0.1')])],
    );
    const stack = await client();
    expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
    expect(await lan.run(stack.resolve('bank.test'))).toEqual(['10.0.0.1']);
  });

  it('hide a dot within a label: refused (as bank\\.test is not bank.test)', async () => {
    await fakeServer((query) => {
      const bytes = reply(query, [
        { type: 'CNAME', name: query.questions![0]!.name, data: 'bankxtest', ttl: 60, class: 'IN' },
        A('bank.test', '6.6.6.6'),
      ]);
      bytes.set([0x2e], bytes.indexOf('bankxtest') + 4);
      return [bytes];
    });
    const stack = await client();
    await expect(lan.run(stack.resolve('www.test'))).rejects.toMatchObject({ code: 'EAGAIN' });
    expect(stack.dns.cache.size).toBe(0);
  });

  it('say FORMERR to EDNS: asked again without it', async () => {
    await fakeServer((query) => [
      query.additionals!.length > 0
        ? reply(query, [], { flags: 1 })
        : reply(query, [A('www.test', '10.0.0.80')]),
    ]);
    const stack = await client();
    expect(await lan.run(stack.resolve('www.test'))).toEqual(['10.0.0.80']);
    expect(dnsOf(stack)).toMatchObject({ udpQueries: 2, tcpQueries: 0 });
  });

  it('have names that point at themselves: refused', async () => {
    await fakeServer((query, bytes) => {
      const end = endOfName(bytes, 12) + 4;
      const loop = Buffer.alloc(end + 16);
      bytes.copy(loop, 0, 0, end);
      loop.writeUInt16BE(0x8080, 2);
      loop.writeUInt16BE(1, 6);
      loop.writeUInt16BE(0, 10);
      loop.writeUInt16BE(0xc000 | end, end);
      loop.writeUInt16BE(1, end + 2);
      loop.writeUInt16BE(1, end + 4);
      loop.writeUInt16BE(4, end + 10);
      expect(query.id).toBe(loop.readUInt16BE(0));
      return [loop];
    });
    const stack = await client();
    await expect(lan.run(stack.resolve('www.test'))).rejects.toMatchObject({ code: 'EAGAIN' });
  });

  it('of any bytes after the question end in an error or an answer, and leave nothing behind', async () => {
    const tails = fc.sample(fc.uint8Array({ maxLength: 120 }), { numRuns: 150, seed: 4 });
    let turn = 0;
    await fakeServer((query, bytes) => {
      const end = endOfName(bytes, 12) + 4;
      const tail = tails[turn++ % tails.length]!;
      const out = Buffer.concat([bytes.subarray(0, end), tail]);
      out.writeUInt16BE(0x8180, 2);
      out.writeUInt16BE((tail[0] ?? 0) % 4, 6);
      out.writeUInt16BE((tail[1] ?? 0) % 2, 8);
      out.writeUInt16BE((tail[2] ?? 0) % 2, 10);
      expect(query.questions).toHaveLength(1);
      return [out];
    });
    const stack = await client();
    for (let i = 0; i < tails.length; i++) {
      stack.dns.cache.clear();
      await lan.run(stack.resolve('www.test').catch(() => {}));
    }
    expect(stack.statistics().udp).toMatchObject({ sockets: 0 });
  });
});

describe('what is sound', () => {
  const query = packet.encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'wWw.test' }] });

  it('is what dns-packet makes, cut nowhere', () => {
    const message = packet.encode({
      type: 'response',
      id: 7,
      questions: [{ type: 'A', name: 'wWw.test' }],
      answers: [
        A('www.test', '1.2.3.4'),
        { type: 'SRV', name: 'www.test', data: { port: 1, target: 'a.test' }, ttl: 1, class: 'IN' },
        { type: 'TXT', name: 'www.test', data: ['x'], ttl: 1, class: 'IN' },
      ],
    });
    expect(isSound(message)).toBe(true);
    expect(matches(message, query)).toBe('yes');
    for (let length = 0; length < message.length; length++) {
      expect(isSound(message.subarray(0, length)), `${length} bytes`).toBe(false);
    }
  });

  it('never lets dns-packet throw or hang, whatever the bytes', () => {
    const good = packet.encode({
      type: 'response',
      id: 7,
      questions: [{ type: 'A', name: 'www.test' }],
      answers: [A('www.test', '1.2.3.4'), { type: 'CNAME', name: 'a.test', data: 'b.test', ttl: 1 }],
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.uint8Array({ maxLength: 60 }),
        (changes, tail) => {
          const bytes = Buffer.concat([good, tail]);
          for (const [at, to] of changes) bytes[at] = to;
          decode(bytes);
          matches(bytes, query);
          decode(tail);
        },
      ),
      { numRuns: 5000 },
    );
  });
});

async function listen(
  server: DirectStack,
  answer: (query: packet.DecodedPacket) => Uint8Array,
): Promise<void> {
  await server.tcp.listen({ port: 53 }, async (flow) => {
    let bytes = Buffer.alloc(0);
    for await (const chunk of flow) {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) continue;
      const out = answer(packet.decode(bytes.subarray(2)));
      // In two parts, to be put together again.
      await flow.write(Uint8Array.of(out.length >>> 8));
      await flow.write(Uint8Array.of(out.length & 255, ...out));
      break;
    }
    await flow.close();
  });
}
