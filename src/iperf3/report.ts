import type { Interval, Measured } from './measurement.ts';
import type { TestParameters } from './parameters.ts';
import type { EndResults } from './results.ts';
import type { TestStream } from './stream.ts';

/** One end's view of a test, while it runs: for text as it comes. */
export interface TestListener {
  connecting?(host: string, port: number): void;
  accepted?(address: string, port: number): void;
  started(test: TestParameters, streams: readonly TestStream[]): void;
  interval(interval: Interval): void;
  finished(report: TestReport): void;
}

/** All that is known of a test at its end. */
export interface TestReport {
  readonly role: 'client' | 'server';
  readonly cookie: string;
  readonly test: TestParameters;
  readonly streams: readonly TestStream[];
  readonly intervals: readonly Interval[];
  readonly own: Measured;
  readonly peer: EndResults;
}
