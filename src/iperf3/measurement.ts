import type { Alarm, Clock } from '../time/index.ts';
import type { CpuUse, StreamResult } from './results.ts';
import { difference, NO_COUNTS, type StreamCounts, type TestStream } from './stream.ts';

/** Processor time that this process has used. */
export type CpuClock = () => { readonly userMs: number; readonly systemMs: number };

export interface IntervalStream {
  readonly stream: TestStream;
  readonly counts: StreamCounts;
  readonly cwnd: number;
  readonly rttMs: number;
  readonly jitterMs: number;
}

export interface Interval {
  readonly startSeconds: number;
  readonly endSeconds: number;
  /** It belongs to the start that does not count. */
  readonly omitted: boolean;
  readonly streams: readonly IntervalStream[];
}

export interface Measured {
  readonly seconds: number;
  readonly cpu: CpuUse;
  readonly streams: readonly (StreamResult & { readonly sends: boolean })[];
}

export interface MeasurementOptions {
  readonly clock: Clock;
  readonly cpu: CpuClock;
  readonly streams: readonly TestStream[];
  /** 0 for none. */
  readonly intervalSeconds: number;
  readonly omitSeconds: number;
  onInterval(interval: Interval): void;
}

/** Counts what the streams of a test move, as a whole and by intervals. */
export class Measurement {
  readonly #options: MeasurementOptions;
  readonly #alarm: Alarm;
  readonly #omission: Alarm;
  #omitting: boolean;
  #startMs = 0;
  #cpuStart = { userMs: 0, systemMs: 0 };
  #base: StreamCounts[] = [];
  #intervalStartMs = 0;
  #intervalBase: StreamCounts[] = [];

  constructor(options: MeasurementOptions) {
    this.#options = options;
    this.#omitting = options.omitSeconds > 0;
    this.#alarm = options.clock.alarm(() => {
      this.#endInterval();
      this.#setAlarm();
    });
    this.#omission = options.clock.alarm(() => {
      if (this.#intervalStartMs < options.clock.now()) this.#endInterval();
      this.#omitting = false;
      this.#restart();
    });
  }

  begin(): void {
    this.#restart();
    if (this.#omitting) this.#omission.set(this.#startMs + this.#options.omitSeconds * 1000);
  }

  /** Stops, with the interval that was under way as the last one. */
  finish(): Measured {
    const { clock, cpu, streams, intervalSeconds } = this.#options;
    this.#alarm.clear();
    this.#omission.clear();
    const elapsedMs = Math.max(clock.now() - this.#startMs, 0.001);
    // A sliver behind the last whole interval is not one of its own.
    if (intervalSeconds > 0 && clock.now() - this.#intervalStartMs > intervalSeconds * 100)
      this.#endInterval();
    const used = cpu();
    const percent = (ms: number): number => (100 * ms) / elapsedMs;
    const userMs = used.userMs - this.#cpuStart.userMs;
    const systemMs = used.systemMs - this.#cpuStart.systemMs;
    const seconds = elapsedMs / 1000;
    return {
      seconds,
      cpu: { total: percent(userMs + systemMs), user: percent(userMs), system: percent(systemMs) },
      streams: streams.map((stream, i) => ({
        id: stream.id,
        sends: stream.sends,
        counts: difference(stream.counts, this.#base[i] ?? NO_COUNTS),
        jitterMs: stream.jitterMs,
        seconds,
      })),
    };
  }

  #restart(): void {
    const { clock, cpu, streams } = this.#options;
    this.#startMs = clock.now();
    this.#cpuStart = cpu();
    this.#base = streams.map(({ counts }) => counts);
    this.#intervalStartMs = this.#startMs;
    this.#intervalBase = this.#base;
    this.#setAlarm();
  }

  #setAlarm(): void {
    const { intervalSeconds } = this.#options;
    if (intervalSeconds > 0) this.#alarm.set(this.#intervalStartMs + intervalSeconds * 1000);
  }

  #endInterval(): void {
    const { clock, streams, onInterval } = this.#options;
    const now = clock.now();
    const counts = streams.map((stream) => stream.counts);
    onInterval({
      startSeconds: (this.#intervalStartMs - this.#startMs) / 1000,
      endSeconds: (now - this.#startMs) / 1000,
      omitted: this.#omitting,
      streams: streams.map((stream, i) => ({
        stream,
        counts: difference(counts[i]!, this.#intervalBase[i] ?? NO_COUNTS),
        cwnd: stream.cwnd,
        rttMs: stream.rttMs,
        jitterMs: stream.jitterMs,
      })),
    });
    this.#intervalStartMs = now;
    this.#intervalBase = counts;
  }
}
