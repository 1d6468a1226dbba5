export { type ClientOptions, runClient } from './client.ts';
export { type JsonContext, jsonReport } from './json-report.ts';
export type { CpuClock } from './measurement.ts';
export type { Direction, TestParameters } from './parameters.ts';
export {
  DEFAULT_PORT,
  DEFAULT_TCP_BLOCK_BYTES,
  DEFAULT_UDP_BLOCK_BYTES,
  DEFAULT_UDP_RATE_BPS,
  Iperf3Error,
  MAX_BLOCK_BYTES,
  MAX_SECONDS,
  MAX_STREAMS,
  MAX_UDP_BLOCK_BYTES,
  MIN_UDP_BLOCK_BYTES,
} from './protocol.ts';
export type { TestListener, TestReport } from './report.ts';
export { Iperf3Server, type ServerOptions } from './server.ts';
export { TextReport } from './text-report.ts';
export { parseUnit } from './units.ts';
