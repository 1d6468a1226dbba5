import type { Connection, TcpLayer, TraceSample } from '../../src/tcp/index.ts';
import { ESTABLISHED } from '../../src/tcp/state.ts';

/** A device that is full now and then, the timer's granule, ACKs that wait for the end of their batch. */
const SLACK_MS = 60;
/** Two looks a second apart find the same standstill. */
const LEAST_LOOKS = 2;

interface Moment {
  timeMs: number;
  isOutstanding: boolean;
  /** The longest timeout since data was last acknowledged: the timer may have been armed with it. */
  rtoMs: number;
  una: number;
}

/**
 * Holds every connection of a host to its retransmission timeout: with data in
 * flight, nothing may be silent for longer; with data to send, none in flight and
 * a window open, nothing may stand still at all.
 */
export class StallWatch {
  readonly #report: (problem: string) => void;
  readonly #latest = new Map<string, Moment>();
  readonly #standing = new WeakMap<Connection, { next: number; looks: number }>();

  constructor(report: (problem: string) => void) {
    this.#report = report;
  }

  readonly onTrace = (sample: TraceSample): void => {
    const { connection, timeMs, una, nxt, rtoMs } = sample;
    const before = this.#latest.get(connection);
    const isOutstanding = nxt > una;
    // A port that is used again begins anew.
    if (before === undefined || una < before.una) {
      this.#latest.set(connection, { timeMs, isOutstanding, rtoMs, una });
      return;
    }
    const silentMs = timeMs - before.timeMs;
    if (before.isOutstanding && silentMs > before.rtoMs + SLACK_MS) {
      this.#report(
        `${connection} was silent for ${silentMs.toFixed(0)} ms with data in flight, at an RTO of ${before.rtoMs.toFixed(0)} ms`,
      );
    }
    before.rtoMs = una > before.una ? rtoMs : Math.max(before.rtoMs, rtoMs);
    before.timeMs = timeMs;
    before.isOutstanding = isOutstanding;
    before.una = una;
  };

  /** Called about once a second. */
  look(layer: TcpLayer, nowMs: number): void {
    for (const connection of layer.connections()) {
      const { sender } = connection;
      const isWaiting = sender.unsent > 0 && sender.outstanding === 0 && sender.persistAt === Infinity;
      const mayGo = sender.window >= Math.min(sender.unsent, sender.segment) && !sender.cork;
      const isPaced = sender.pacedUntil > nowMs && sender.pacedUntil < Infinity;
      if (connection.state < ESTABLISHED || !isWaiting || !mayGo || isPaced) {
        this.#standing.delete(connection);
        continue;
      }
      const known = this.#standing.get(connection);
      const looks = known?.next === sender.next ? known.looks + 1 : 1;
      this.#standing.set(connection, { next: sender.next, looks });
      if (looks > LEAST_LOOKS) {
        this.#report(
          `${connection.stateName} with ${sender.unsent} bytes to send and a window, and nothing goes`,
        );
      }
    }
  }
}
