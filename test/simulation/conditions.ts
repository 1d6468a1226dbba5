import type { Impairments, Offloads } from '../../src/netif/index.ts';
import type { TcpOptions } from '../../src/tcp/index.ts';
import type { Draw } from './draw.ts';

/** A line as a seed has it. */
export interface LineConditions {
  readonly mtu: number;
  readonly transmit: Impairments;
  readonly receive: Impairments;
  /** Share of `reserve` calls that find the device full. */
  readonly stalls: number;
}

/** No offloads for most; checksums, and segments of 64 KiB, for some. */
export function drawOffloads(draw: Draw): Offloads {
  if (!draw.chance(0.25)) return { checksum: 'none', segmentation: 0 };
  return { checksum: 'partial', segmentation: draw.chance(0.6) ? draw.pick([16_384, 65_535]) : 0 };
}

/** One MTU for all hosts, or each its own. */
export function drawMtus(draw: Draw, hosts: number): number[] {
  const one = draw.pick([1500, 1500, 1500, 576, 9000, 1280]);
  const mixed = draw.chance(0.2);
  return Array.from({ length: hosts }, () => (mixed ? draw.pick([576, 1280, 1500, 9000]) : one));
}

/** `ideal`: a line that does nothing but take a while. */
export function drawLine(draw: Draw, mtu: number, ideal: boolean): LineConditions {
  const delayMs = draw.chance(0.3) ? 0 : draw.real(0, draw.pick([2, 20, 75]));
  if (ideal) return { mtu, transmit: { delayMs }, receive: { delayMs }, stalls: 0 };
  const transmit = drawDirection(draw, delayMs, true);
  const receive = draw.chance(0.5) ? drawDirection(draw, delayMs, false) : { delayMs };
  return { mtu, transmit, receive, stalls: draw.chance(0.2) ? draw.real(0, 0.05) : 0 };
}

function drawDirection(draw: Draw, delayMs: number, outward: boolean): Impairments {
  const impairments: { -readonly [K in keyof Impairments]: Impairments[K] } = { delayMs };
  if (draw.chance(0.5)) impairments.loss = draw.pick([0.001, 0.01, 0.03, 0.05, draw.real(0, 0.1)]);
  if (draw.chance(0.15)) {
    // A burst ends with frames, not with time: a lone probe every now and then must find a way out.
    impairments.burst = { enter: draw.real(0, 0.01), exit: draw.real(0.4, 0.8), loss: 0.7 };
  }
  if (draw.chance(0.4)) {
    impairments.jitterMs = draw.real(0, Math.max(1, delayMs));
    impairments.keepOrder = draw.chance(0.5);
  }
  if (draw.chance(0.3)) {
    impairments.reorder = { probability: draw.real(0, 0.1), delayMs: draw.real(0.1, 30) };
  }
  if (draw.chance(0.3)) impairments.duplicate = draw.real(0, 0.05);
  // Once on the way only: two flipped bits can make up for each other in the checksum.
  if (outward && draw.chance(0.3)) impairments.corrupt = draw.real(0, 0.05);
  if (outward && draw.chance(0.35)) {
    impairments.rateBps = draw.magnitude(1e6, 1e8);
    impairments.queueBytes = draw.magnitude(8000, 262_144);
  }
  return impairments;
}

export function drawTcpOptions(draw: Draw): TcpOptions {
  const options: { -readonly [K in keyof TcpOptions]: TcpOptions[K] } = {
    windowScaling: draw.chance(0.8),
    timestamps: draw.chance(0.7),
    sack: draw.chance(0.75),
    rack: draw.chance(0.8),
    tailLossProbe: draw.chance(0.8),
    congestionControl: draw.pick(['newreno', 'cubic', 'cubic', 'bbr']),
    autoTuning: draw.chance(0.5),
    ecn: draw.pick([true, 'passive', false]),
    frto: draw.chance(0.8),
    pacing: draw.pick([true, 'auto', false]),
    receiveBuffer: draw.chance(0.6) ? draw.magnitude(2048, 1 << 20) : 1 << 20,
    sendBuffer: draw.chance(0.6) ? draw.magnitude(2048, 1 << 20) : 1 << 20,
    delayedAckMs: draw.pick([1, 40, 40, 200]),
    noDelay: draw.chance(0.3),
    mslMs: draw.pick([1000, 15_000, 30_000]),
    keepAliveIntervalMs: 5000,
    slowStartAfterIdle: draw.chance(0.7),
  };
  if (draw.chance(0.3)) options.initialWindow = draw.pick([1, 2, 4, 30]);
  if (draw.chance(0.2)) options.maxSegment = draw.integer(100, 1460);
  if (draw.chance(0.1)) options.memoryLimit = draw.magnitude(20_000, 1 << 20);
  // So few half-open connections that cookies are needed.
  if (draw.chance(0.12)) options.synQueue = draw.integer(1, 4);
  if (draw.chance(0.1)) options.synCookies = false;
  if (draw.chance(0.2)) options.minRtoMs = 1000;
  if (draw.chance(0.2)) options.maxRtoMs = 10_000;
  if (draw.chance(0.2)) options.maxTimeWait = draw.integer(1, 8);
  // Few ports, so that one is used again soon.
  if (draw.chance(0.2)) options.ephemeralPorts = [40_000, 40_000 + draw.integer(80, 200)];
  return options;
}

/** Whether the host may answer SYNs with cookies: it then knows nothing of a connection until an ACK brings it back. */
export function usesCookies({ synQueue, synCookies }: TcpOptions): boolean {
  return synQueue !== undefined && synCookies !== false;
}

/** Whether anything but time can happen to a frame. */
export function isLossy(line: LineConditions): boolean {
  return [line.transmit, line.receive].some(
    ({ loss = 0, burst, corrupt = 0, rateBps }) =>
      loss > 0 || burst !== undefined || corrupt > 0 || rateBps !== undefined,
  );
}
