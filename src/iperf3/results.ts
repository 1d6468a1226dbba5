import { Iperf3Error, MAX_STREAMS } from './protocol.ts';
import type { StreamCounts } from './stream.ts';

/** Percent of one processor. */
export interface CpuUse {
  readonly total: number;
  readonly user: number;
  readonly system: number;
}

export interface StreamResult {
  readonly id: number;
  readonly counts: StreamCounts;
  readonly jitterMs: number;
  /** Seconds that the counts are of. */
  readonly seconds: number;
}

/** What one end measured. */
export interface EndResults {
  readonly cpu: CpuUse;
  /** Whether `retransmits` of what it sent are known. */
  readonly knowsRetransmits: boolean;
  readonly congestionControl: string | null;
  readonly streams: readonly StreamResult[];
  readonly output: string | null;
}

/** The JSON of EXCHANGE_RESULTS. */
export function encodeResults(results: EndResults, sends: boolean): Record<string, unknown> {
  const { cpu, knowsRetransmits, congestionControl, streams, output } = results;
  return {
    cpu_util_total: cpu.total,
    cpu_util_user: cpu.user,
    cpu_util_system: cpu.system,
    sender_has_retransmits: sends ? Number(knowsRetransmits) : -1,
    ...(congestionControl !== null && { congestion_used: congestionControl }),
    ...(output !== null && { server_output_text: output }),
    streams: streams.map(({ id, counts, jitterMs, seconds }) => ({
      id,
      bytes: counts.bytes,
      retransmits: sends && knowsRetransmits ? counts.retransmits : -1,
      jitter: jitterMs / 1000,
      errors: counts.lost,
      omitted_errors: 0,
      packets: counts.packets,
      omitted_packets: 0,
      start_time: 0,
      end_time: seconds,
    })),
  };
}

/** Reads the peer's results. Throws `Iperf3Error`. */
export function decodeResults(json: Readonly<Record<string, unknown>>): EndResults {
  const { streams } = json;
  if (!Array.isArray(streams) || streams.length > 2 * MAX_STREAMS) {
    throw new Iperf3Error('the results of the peer lack the streams');
  }
  const output = json.server_output_text;
  const congestionControl = json.congestion_used;
  return {
    cpu: {
      total: number(json, 'cpu_util_total'),
      user: number(json, 'cpu_util_user'),
      system: number(json, 'cpu_util_system'),
    },
    knowsRetransmits: number(json, 'sender_has_retransmits') > 0,
    congestionControl: typeof congestionControl === 'string' ? congestionControl : null,
    output: typeof output === 'string' ? output : null,
    streams: streams.map((stream: unknown) => {
      if (typeof stream !== 'object' || stream === null) {
        throw new Iperf3Error('the results of the peer have a stream that is no object');
      }
      const fields = stream as Record<string, unknown>;
      return {
        id: number(fields, 'id'),
        counts: {
          bytes: number(fields, 'bytes'),
          retransmits: Math.max(number(fields, 'retransmits'), 0),
          packets: number(fields, 'packets') - number(fields, 'omitted_packets'),
          lost: number(fields, 'errors') - number(fields, 'omitted_errors'),
          outOfOrder: 0,
        },
        jitterMs: number(fields, 'jitter') * 1000,
        seconds: number(fields, 'end_time') - number(fields, 'start_time'),
      };
    }),
  };
}

function number(json: Readonly<Record<string, unknown>>, name: string): number {
  const value = json[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
