import { MacAddress } from '../../../src/address/index.ts';
import { CHECKSUM_NONE, CHECKSUM_PARTIAL, type Frame } from '../../../src/netif/index.ts';
import type { Hypervisor } from '../../../src/netif/xen/hypervisor.ts';
import { BackConnection } from '../../../src/netif/xen/netback/connection.ts';
import { GroupFilter } from '../../../src/netif/xen/netback/groups.ts';
import { CopySlab } from '../../../src/netif/xen/netback/guest-transmit.ts';
import { FrontConnection } from '../../../src/netif/xen/netfront/connection.ts';
import { ReceiveSlab } from '../../../src/netif/xen/netfront/receive.ts';
import {
  type Bus,
  type ConnectionShare,
  type RingConnection,
  RingNetif,
} from '../../../src/netif/xen/ring-netif.ts';
import { type Random, randomBelow } from '../../../src/time/index.ts';
import { tcpFrame } from '../../support/tcp-frames.ts';
import { type Arena, SECRET, Trespass } from './arena.ts';
import { TurnClock } from './turn-clock.ts';

const LONGEST = 65_535;
/** More of it than chance brings about. */
const SECRETS = Buffer.alloc(8, SECRET);
/** What an end has said that it takes, with the device's offloads or in software. */
const PROMISES = { checksum: true, segmentation: true, coalesce: false, longest: LONGEST };
const IN_SOFTWARE = { checksum: false, segmentation: false, coalesce: true, longest: LONGEST };
const PEER = { scatterGather: true, segmentation: true, checksumIpv4: true, checksumIpv6: true };

/** A netif without a handshake: what is under test are its rings. */
export class BareNetif extends RingNetif {
  protected override readonly bus: Bus;
  error: Error | null = null;
  /** Called with each frame that is handed up, after it was checked. */
  onFrame: (frame: Frame) => void = () => {};
  #rings: RingConnection | null = null;
  #sequence = 0;
  frames = 0;

  constructor(clock: TurnClock, hypervisor: Hypervisor) {
    super(
      { hypervisor, clock, folder: 'bare', name: 'bare', mac: MacAddress.ZERO, mtu: 1500 },
      { checksum: true, segmentation: true, software: false },
    );
    const down = async (): Promise<void> => this.detach();
    this.bus = { start: async () => {}, close: down, abandon: down, describe: async () => '' };
    this.start({
      receive: (frame) => {
        this.frames++;
        checkFrame(frame);
        this.onFrame(frame);
      },
      flush: () => this.flush(),
      writable: () => {},
      closed: (error) => {
        this.error = error ?? null;
      },
    });
  }

  connect(make: (share: ConnectionShare) => RingConnection): void {
    this.attach(() => {
      this.#rings = make(this.share);
      return this.#rings;
    }, PEER);
    this.up();
  }

  /** The next segment of a stream: with others, what goes up as one frame where segments are put together. */
  sendSegment(length: number): void {
    const segment = tcpFrame({ sequence: this.#sequence, payload: Buffer.alloc(length, 0x22) });
    const frame = this.reserve(segment.length);
    if (frame === null) return;
    this.#sequence = (this.#sequence + length) | 0;
    frame.bytes.set(segment, frame.start);
    this.commit(frame);
  }

  /** Frames that the other end has not dealt with, at the last look. */
  get inFlight(): number {
    return this.#rings?.inFlight ?? 0;
  }

  /** Takes what has been answered, as a sender does that runs out of room. */
  look(): void {
    this.guard(() => {
      if (this.connected) this.#rings?.look();
    });
  }
}

/** What every frame that is handed up must be, whoever sent it. */
function checkFrame(frame: Frame): void {
  const { bytes, start, end } = frame;
  if (!(start >= 0 && end <= bytes.length && end - start >= 14 && end - start <= LONGEST)) {
    throw new Trespass(`a frame from ${start} to ${end} of ${bytes.length}`);
  }
  const secret = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).indexOf(SECRETS);
  if (secret >= 0) throw new Trespass(`byte ${secret} of a frame is from memory that was not granted`);
  if (frame.checksum === CHECKSUM_PARTIAL) {
    const field = frame.checksumStart + frame.checksumOffset;
    if (frame.checksumStart < start + 34 || field + 2 > end)
      throw new Trespass('a checksum outside of its frame');
  } else if (frame.checksum !== CHECKSUM_NONE && frame.checksumStart !== 0) {
    throw new Trespass('a cursor that was not reset');
  }
}

export interface BarePair {
  readonly front: BareNetif;
  readonly back: BareNetif;
  readonly frontClock: TurnClock;
  readonly backClock: TurnClock;
  readonly rings: { readonly tx: Int32Array; readonly rx: Int32Array };
}

/** One for all connections: frames are handed up in it and not kept. */
const slab = new ReceiveSlab();

/** Both ends, each on its own netif, over rings that a third hand can reach. */
export function connectPair(arena: Arena, split: boolean, software = false): BarePair {
  const promises = software ? IN_SOFTWARE : PROMISES;
  const frontClock = new TurnClock();
  const backClock = new TurnClock();
  const front = new BareNetif(frontClock, arena.end('front'));
  const back = new BareNetif(backClock, arena.end('back'));
  let connection!: FrontConnection;
  front.connect((share) => {
    connection = new FrontConnection({
      ...share,
      backend: 0,
      queues: 1,
      ringPages: 1,
      split,
      slab,
      promises,
    });
    return connection;
  });
  const [queue] = connection.queues;
  const { transmitRing, receiveRing } = queue!;
  const mapped = new Map([
    [transmitRing.references[0]!, transmitRing.bytes],
    [receiveRing.references[0]!, receiveRing.bytes],
  ]);
  back.connect(
    (share) =>
      new BackConnection({
        ...share,
        hypervisor: {
          ...arena.end('back'),
          grants: {
            ...arena.grants,
            map: (_, references) => ({ bytes: mapped.get(references[0]!)!, unmap() {} }),
          },
        },
        frontend: 1,
        queues: [
          {
            transmitRing: transmitRing.references,
            receiveRing: receiveRing.references,
            transmitPort: queue!.transmitEvents.port,
            receivePort: queue!.receiveEvents.port,
          },
        ],
        slab: new CopySlab(arena.grants),
        promises,
        groups: new GroupFilter(),
      }),
  );
  const words = (bytes: Uint8Array): Int32Array =>
    new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return {
    front,
    back,
    frontClock,
    backClock,
    rings: { tx: words(transmitRing.bytes), rx: words(receiveRing.bytes) },
  };
}

/** Sends a frame of some kind, or a few segments that go on with those before; as far as there is room. */
export function sendSomething(netif: BareNetif, random: Random): void {
  if (randomBelow(random, 3) === 0) {
    for (let n = randomBelow(random, 6); n >= 0; n--) netif.sendSegment(200 - randomBelow(random, 3) * 50);
    return;
  }
  const kind = randomBelow(random, 8);
  const size = kind === 0 ? 60 + randomBelow(random, 30_000) : 60 + randomBelow(random, 1455);
  const frame = netif.reserve(size);
  if (frame === null) return;
  const { bytes, start, end } = frame;
  bytes.fill(0x22, start, end);
  // Broadcast, so that no filter stops it; IPv4, TCP.
  bytes.fill(0xff, start, start + 6);
  bytes[start + 12] = 0x08;
  bytes[start + 13] = 0;
  bytes[start + 14] = 0x45;
  bytes[start + 20] = 0;
  bytes[start + 21] = 0;
  bytes[start + 23] = 6;
  if (kind < 3) {
    frame.checksum = CHECKSUM_PARTIAL;
    frame.checksumStart = start + 34;
    frame.checksumOffset = 16;
    if (kind < 2) frame.segmentSize = 1460;
  }
  netif.commit(frame);
}

/** More turns than two ends ever need to go to sleep. */
const MOST_TURNS = 64;

/** Lets both ends work until they sleep: only what they are told of, or have set themselves, wakes them. */
export function settle(pair: BarePair, arena: Arena): void {
  for (let turns = 0; turns < MOST_TURNS; turns++) {
    let isBusy = arena.deliver('front', false);
    if (arena.deliver('back', false)) isBusy = true;
    if (pair.frontClock.turn()) isBusy = true;
    if (pair.backClock.turn()) isBusy = true;
    if (!isBusy) return;
  }
  throw new Error(`the two ends do not come to rest in ${MOST_TURNS} turns`);
}
