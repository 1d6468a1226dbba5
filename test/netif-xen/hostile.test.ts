import { describe, expect, it } from 'vitest';
import { backendFolder, frontendFolder } from '../../src/netif/xen/index.ts';
import { listen, numbered, send } from '../netif/helpers.ts';
import { Arena } from './fuzz/arena.ts';
import { type BarePair, connectPair, settle } from './fuzz/ends.ts';
import { makePair, VIF } from './pair.ts';

const REQUEST_PRODUCER = 0;
const RESPONSE_PRODUCER = 2;

const tx = (place: number): number => 16 + place * 3;
const rx = (place: number): number => 16 + place * 2;

/** Responses to the first receive buffers: offset, length, flags. */
function respond(words: Int32Array, ...responses: [offset: number, status: number, flags: number][]): void {
  for (const [place, [offset, status, flags]] of responses.entries()) {
    words[rx(place)] = (offset << 16) | place;
    words[rx(place) + 1] = (status << 16) | flags;
  }
  words[RESPONSE_PRODUCER] = responses.length;
}

/** The first transmit requests of a frontend: offset, size, flags, of a page that is granted. */
function request(words: Int32Array, ...requests: [offset: number, size: number, flags: number][]): void {
  for (const [place, [offset, size, flags]] of requests.entries()) {
    words[tx(place)] = 100;
    words[tx(place) + 1] = (flags << 16) | offset;
    words[tx(place) + 2] = (size << 16) | place;
  }
  words[REQUEST_PRODUCER] = requests.length;
}

type Lie = (pair: BarePair) => void;

const LIES_OF_A_BACKEND: [string, Lie, RegExp][] = [
  [
    'answers more than was asked',
    ({ rings }) => {
      rings.rx[RESPONSE_PRODUCER] = 257;
    },
    /rx response counter/,
  ],
  [
    'takes answers back',
    ({ rings }) => {
      rings.rx[RESPONSE_PRODUCER] = -1;
    },
    /rx response counter/,
  ],
  [
    'answers transmit requests that were not made',
    ({ rings }) => {
      rings.tx[RESPONSE_PRODUCER] = 1;
    },
    /tx response counter/,
  ],
  ['writes past a page', ({ rings }) => respond(rings.rx, [4000, 97, 0]), /97 bytes are at 4000/],
  [
    'answers in another place',
    ({ rings }) => {
      respond(rings.rx, [0, 60, 0]);
      rings.rx[rx(0)] = 7;
    },
    /rx request 7 in the place of 0/,
  ],
  [
    'sends segments of no size',
    ({ rings }) => {
      respond(rings.rx, [0, 60, 8 | 4], [0, 0, 0], [0, 60, 0]);
      rings.rx[rx(1)] = 1;
      rings.rx[rx(1) + 1] = 1;
    },
    /segments of 0 bytes/,
  ],
  [
    'sends extra info of no known type',
    ({ rings }) => {
      respond(rings.rx, [0, 60, 8], [0, 0, 0]);
      rings.rx[rx(1)] = 9;
    },
    /extra info of type 9/,
  ],
  [
    'sends extra infos without end',
    ({ rings }) => {
      respond(rings.rx, [0, 60, 8], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]);
      for (let place = 1; place < 6; place++) {
        rings.rx[rx(place)] = (1460 << 16) | (1 << 8) | 1;
        rings.rx[rx(place) + 1] = 1;
      }
    },
    /extra infos do not end/,
  ],
  [
    'sends a packet that fills the ring and goes on',
    ({ rings }) => {
      respond(rings.rx, ...Array.from({ length: 256 }, (): [number, number, number] => [0, 10, 4]));
    },
    /a packet that does not end/,
  ],
];

const LIES_OF_A_FRONTEND: [string, Lie, RegExp][] = [
  [
    'asks for more than the ring holds',
    ({ rings }) => {
      rings.tx[REQUEST_PRODUCER] = 257;
    },
    /tx request counter/,
  ],
  [
    'takes buffers back',
    ({ rings }) => {
      rings.rx[REQUEST_PRODUCER] = -1;
    },
    /rx request counter/,
  ],
  ['sends from beyond a page', ({ rings }) => request(rings.tx, [4090, 60, 0]), /60 bytes are at 4090/],
  [
    'sends a part from beyond a page',
    ({ rings }) => request(rings.tx, [0, 200, 4], [4050, 100, 0]),
    /100 bytes are at 4050/,
  ],
  [
    'sends parts that are more than the whole',
    ({ rings }) => request(rings.tx, [0, 60, 4], [0, 61, 0]),
    /60 bytes has parts of 61/,
  ],
  ['publishes half of a packet', ({ rings }) => request(rings.tx, [0, 600, 4]), /a part of a packet/],
  [
    'sends a packet of 21 slots',
    ({ rings }) => {
      request(
        rings.tx,
        ...Array.from({ length: 21 }, (_, i): [number, number, number] => [
          0,
          i === 0 ? 2100 : 100,
          i < 20 ? 4 : 0,
        ]),
      );
    },
    /more than 20 slots/,
  ],
  [
    'sends segments of no known protocol',
    ({ rings }) => {
      request(rings.tx, [0, 60, 8], [0, 0, 0]);
      rings.tx[tx(1)] = (1460 << 16) | 1;
      rings.tx[tx(1) + 1] = 3;
    },
    /segments of 1460 bytes and type 3/,
  ],
  [
    'sends extra info of no known type',
    ({ rings }) => {
      request(rings.tx, [0, 60, 8], [0, 0, 0]);
      rings.tx[tx(1)] = 200;
    },
    /extra info of type 200/,
  ],
];

function meet(): { arena: Arena; pair: BarePair } {
  const arena = new Arena();
  arena.reset();
  const pair = connectPair(arena, false);
  settle(pair, arena);
  return { arena, pair };
}

describe('a backend that', () => {
  it.each(LIES_OF_A_BACKEND)('%s is cut off', (_, lie, reason) => {
    const { arena, pair } = meet();
    lie(pair);
    arena.deliver('front', true);
    pair.front.look();
    expect(pair.front.error).toMatchObject({ code: 'EPROTO' });
    expect(pair.front.error!.message).toMatch(reason);
    expect(pair.front.frames).toBe(0);
    expect(pair.front.reserve(60)).toBeNull();
    arena.checkGuards();
  });

  it('answers a request twice is cut off', () => {
    const { arena, pair } = meet();
    for (let n = 0; n < 2; n++) send(pair.front, numbered(n));
    pair.front.flush();
    settle(pair, arena);
    const { tx: words } = pair.rings;
    words[tx(1)] = words[tx(0)]!;
    pair.front.look();
    expect(pair.front.error!.message).toMatch(/answers tx request \d+, which is not outstanding/);
  });

  it('sends what it may not, but harmlessly, costs itself that packet', () => {
    const { arena, pair } = meet();
    // An error, a runt, a blank checksum in what has none, 19 slots.
    respond(
      pair.rings.rx,
      [0, -1, 0],
      [0, 13, 0],
      [0, 60, 2],
      ...Array.from({ length: 19 }, (_, i): [number, number, number] => [0, 10, i < 18 ? 4 : 0]),
      [0, 60, 0],
    );
    arena.deliver('front', true);
    settle(pair, arena);
    expect(pair.front.error).toBeNull();
    expect(pair.front.frames).toBe(1);
    expect(pair.front.counters.rxErrors).toBe(4);
  });
});

describe('a frontend that', () => {
  it.each(LIES_OF_A_FRONTEND)('%s is cut off', (_, lie, reason) => {
    const { arena, pair } = meet();
    lie(pair);
    arena.deliver('back', true);
    // Buffers are looked at by whoever needs them.
    for (let n = 0; n < 300 && pair.back.error === null; n++) {
      send(pair.back, numbered(n));
      pair.back.flush();
    }
    expect(pair.back.error).toMatchObject({ code: 'EPROTO' });
    expect(pair.back.error!.message).toMatch(reason);
    expect(pair.back.frames).toBe(0);
    expect(pair.back.reserve(60)).toBeNull();
    arena.checkGuards();
  });

  it('sends what it may not, but harmlessly, costs itself that packet', () => {
    const { arena, pair } = meet();
    const { tx: words } = pair.rings;
    // A runt, 19 slots, a blank checksum in what has none, a grant that is none.
    request(
      words,
      [0, 13, 0],
      ...Array.from({ length: 19 }, (_, i): [number, number, number] => [
        0,
        i === 0 ? 1900 : 100,
        i < 18 ? 4 : 0,
      ]),
      [0, 60, 1],
      [0, 60, 0],
      [0, 60, 0],
    );
    words[tx(21)] = 0x7fff;
    arena.deliver('back', true);
    settle(pair, arena);
    expect(pair.back.error).toBeNull();
    expect(pair.back.frames).toBe(1);
    expect(pair.back.counters).toMatchObject({ rxErrors: 3, rxDropped: 1 });
    // Each is answered, in order, and those that failed are told so.
    expect(words[RESPONSE_PRODUCER]).toBe(23);
    const statuses = Array.from({ length: 23 }, (_, place) => words[tx(place)]! >> 16);
    expect([statuses[0], statuses[1], statuses[20], statuses[21], statuses[22]]).toEqual([-1, -1, 0, -1, 0]);
  });
});

describe('after a breach', () => {
  it('the device is closed in xenstore, everything is given back, and the other end lives on', async () => {
    const { lab, front, back } = await makePair();
    const f = listen(front);
    const b = listen(back);
    const reference = Number(await lab.run(lab.dom0.store.read(`${frontendFolder(VIF)}/rx-ring-ref`)));
    const ring = lab.dom0.grants.map(1, [reference]);
    new Int32Array(ring.bytes.buffer, ring.bytes.byteOffset, 16)[RESPONSE_PRODUCER] = 0x12345;
    send(back, numbered(1));
    back.flush();
    ring.unmap();
    // The backend has written its own counter over it by now: lie again, and wake the frontend.
    const again = lab.dom0.grants.map(1, [reference]);
    new Int32Array(again.bytes.buffer, again.bytes.byteOffset, 16)[RESPONSE_PRODUCER] = 0x12345;
    again.unmap();
    await lab.pass(50);
    expect(f.log.at(-1)).toMatch(/closed: .*EPROTO.*rx response counter/);
    expect(await lab.state(frontendFolder(VIF))).toBe('6');
    expect(await lab.state(backendFolder(VIF))).toBe('6');
    expect(back.connected).toBe(false);
    expect(b.log).not.toContain('closed');
    const { grants, mappings, pages } = lab.machine.use;
    expect([grants, mappings, pages]).toEqual([0, 0, 0]);
  });
});
