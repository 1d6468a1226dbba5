/** The grid of the loss table, and what each of its cells asks of a network. */
import type { Impairments } from '../../src/netif/index.ts';

export const KINDS = ['random', 'burst', 'reorder'] as const;
export type Kind = (typeof KINDS)[number];

/** Shares of frames lost after the bottleneck, towards the receiver. */
export const LOSSES = [0, 0.001, 0.01, 0.03, 0.1] as const;
export const RTTS_MS = [1, 20, 100, 300] as const;

export interface Cell {
  readonly kind: Kind;
  readonly loss: number;
  readonly rttMs: number;
}

export const RATE_BPS = 100e6;
/** An Ethernet frame with 1500 bytes of IP, as the bottleneck counts it. */
export const FRAME = 1514;
/** What of it is payload, with timestamps. */
export const SEGMENT = 1448;
/** The least queue, in frames: one bandwidth-delay product is 8 frames at 1 ms, less than an initial window. */
export const QUEUE_FLOOR_FRAMES = 50;
/** Mean length of a loss burst, in frames. */
export const BURST_FRAMES = 4;
export const REORDER_SHARE = 0.01;

/** One direction of a path: first the bottleneck with its queue, then a way that loses, delays and reorders. */
export interface PathImpairments {
  readonly bottleneck: Impairments;
  readonly way: Impairments;
  /** For what comes back: delay only, so that the figures are about the data. */
  readonly back: Impairments;
}

export function bandwidthDelayBytes(rttMs: number, rateBps = RATE_BPS): number {
  return (rateBps / 8000) * rttMs;
}

export function queueBytes(rttMs: number, rateBps = RATE_BPS): number {
  return Math.ceil(Math.max(bandwidthDelayBytes(rttMs, rateBps), QUEUE_FLOOR_FRAMES * FRAME));
}

/** How long a reordered frame is held back: half an RTT, so it arrives within one, behind half a window. */
export function holdMs(rttMs: number): number {
  return rttMs / 2;
}

export function impairments({ kind, loss, rttMs }: Cell, rateBps = RATE_BPS): PathImpairments {
  const delayMs = rttMs / 2;
  return {
    bottleneck: { rateBps, queueBytes: queueBytes(rttMs, rateBps) },
    way: {
      delayMs,
      ...(loss > 0 && (kind === 'burst' ? { burst: burstsOf(loss) } : { loss })),
      ...(kind === 'reorder' && { reorder: { probability: REORDER_SHARE, delayMs: holdMs(rttMs) } }),
    },
    back: { delayMs },
  };
}

/** The Gilbert–Elliott chain that loses `loss` of all frames, in bursts of `BURST_FRAMES` on average. */
function burstsOf(loss: number): { enter: number; exit: number } {
  const exit = 1 / BURST_FRAMES;
  return { enter: (exit * loss) / (1 - loss), exit };
}

/** Payload bits per second that the link carries once `loss` of the frames behind it are gone. */
export function allowedBps({ loss }: Cell, rateBps = RATE_BPS): number {
  return rateBps * (SEGMENT / FRAME) * (1 - loss);
}

/**
 * What the response function of the controller says, as a share of what the link
 * allows: for CUBIC the larger of its own (RFC 9438 §5.1, eq. 6 with C = 0.4) and
 * Reno's (RFC 5681, without delayed ACKs). Timeouts, queueing and slow start are
 * not in it, so it flatters at 10% loss. 1 where the link, not loss, is the limit,
 * and for BBR, whose rate does not follow from loss.
 */
export function responseShare(cell: Cell, controller: string): number {
  const { loss, rttMs } = cell;
  if (loss === 0 || controller === 'bbr') return 1;
  const rtt = rttMs / 1000;
  const reno = Math.sqrt(1.5 / loss);
  const cubic = 1.054 * (rtt / loss) ** 0.75;
  const segments = controller === 'cubic' ? Math.max(reno, cubic) : reno;
  const bps = (segments * SEGMENT * 8) / rtt;
  return Math.min(1, (bps * (1 - loss)) / allowedBps(cell));
}

/** Long enough for hundreds of round trips and, at 300 ms, for CUBIC to come back after a loss. */
export function durationMs({ rttMs }: Cell): number {
  return Math.max(20_000, 200 * rttMs);
}

export function allCells(): Cell[] {
  const cells: Cell[] = [];
  for (const kind of KINDS)
    for (const loss of LOSSES) for (const rttMs of RTTS_MS) cells.push({ kind, loss, rttMs });
  // Bursts of nothing are the same cell as no random loss.
  return cells.filter(({ kind, loss }) => kind !== 'burst' || loss > 0);
}

export function cellName({ kind, loss, rttMs }: Cell): string {
  return `${kind}/${percent(loss)}/${rttMs}`;
}

/** `random/1%/20`: each part may be `*`; parts at the end may be missing. */
export function matches(cell: Cell, pattern: string): boolean {
  const wanted = pattern.split('/');
  return cellName(cell)
    .split('/')
    .every((part, i) => {
      const one = wanted[i] ?? '*';
      return one === '*' || one === part || (i === 1 && `${one}%` === part);
    });
}

export function percent(share: number): string {
  return `${Number((share * 100).toFixed(3))}%`;
}
