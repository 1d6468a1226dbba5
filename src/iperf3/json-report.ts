import type { Interval } from './measurement.ts';
import { senders } from './parameters.ts';
import type { TestReport } from './report.ts';
import type { StreamResult } from './results.ts';
import { type StreamCounts, sum } from './stream.ts';

export interface JsonContext {
  readonly version: string;
  readonly system: string;
  readonly host: string;
  readonly port: number;
  /** When the test began. */
  readonly date: Date;
}

type Json = Record<string, unknown>;

/** The object that `iperf3 -J` prints. */
export function jsonReport(report: TestReport, context: JsonContext): Json {
  const { test, streams, intervals, own, peer, role, cookie } = report;
  const udp = test.protocol === 'udp';
  const clientSends = senders(test).client > 0;
  const ends = own.streams.map((mine) => {
    const theirs = peer.streams.find(({ id }) => id === mine.id);
    const [sent, received] = mine.sends ? [mine, theirs] : [theirs, mine];
    return { id: mine.id, sends: mine.sends, sent, received };
  });
  const total = (side: 'sent' | 'received'): Json => {
    const some = ends.flatMap((end) => end[side] ?? []);
    return figures(sum(some.map(({ counts }) => counts)), 0, own.seconds, udp, side === 'sent');
  };
  return {
    start: {
      connected: streams.map(({ id, local, remote }) => ({
        socket: id,
        local_host: local.address,
        local_port: local.port,
        remote_host: remote.address,
        remote_port: remote.port,
      })),
      version: context.version,
      system_info: context.system,
      timestamp: { time: context.date.toUTCString(), timesecs: Math.floor(context.date.getTime() / 1000) },
      ...(role === 'client' && { connecting_to: { host: context.host, port: context.port } }),
      cookie,
      test_start: {
        protocol: test.protocol.toUpperCase(),
        num_streams: test.parallel,
        blksize: test.blockBytes,
        omit: test.omitSeconds,
        duration: test.seconds,
        bytes: test.bytes,
        blocks: test.blocks,
        reverse: Number(test.direction === 'reverse'),
        tos: 0,
        target_bitrate: test.rateBps,
        bidir: Number(test.direction === 'bidirectional'),
      },
    },
    intervals: intervals.map((interval) => intervalJson(interval, udp)),
    end: {
      streams: ends.map(({ id, sent, received }) =>
        udp
          ? { udp: { socket: id, ...datagramEnd(sent, received) } }
          : {
              sender: streamEnd(id, sent, true),
              receiver: streamEnd(id, received, false),
            },
      ),
      ...(udp && { sum: total('received') }),
      sum_sent: total('sent'),
      sum_received: total('received'),
      cpu_utilization_percent: {
        host_total: own.cpu.total,
        host_user: own.cpu.user,
        host_system: own.cpu.system,
        remote_total: peer.cpu.total,
        remote_user: peer.cpu.user,
        remote_system: peer.cpu.system,
      },
      ...(peer.congestionControl !== null && {
        [clientSends === (role === 'client') ? 'receiver_tcp_congestion' : 'sender_tcp_congestion']:
          peer.congestionControl,
      }),
    },
  };
}

function intervalJson({ startSeconds, endSeconds, omitted, streams }: Interval, udp: boolean): Json {
  const seconds = endSeconds - startSeconds;
  const span = { start: startSeconds, end: endSeconds };
  const counts = streams.map((each) => each.counts);
  const sends = streams.some(({ stream }) => stream.sends);
  return {
    streams: streams.map((each) => ({
      socket: each.stream.id,
      ...span,
      ...figures(each.counts, each.jitterMs, seconds, udp, each.stream.sends),
      ...(!udp && each.stream.sends && { snd_cwnd: each.cwnd, rtt: Math.round(each.rttMs * 1000) }),
      omitted,
      sender: each.stream.sends,
    })),
    sum: { ...span, ...figures(sum(counts), 0, seconds, udp, sends), omitted, sender: sends },
  };
}

function streamEnd(id: number, result: StreamResult | undefined, sender: boolean): Json {
  if (result === undefined) return { socket: id, sender };
  return {
    socket: id,
    start: 0,
    end: result.seconds,
    ...figures(result.counts, 0, result.seconds, false, sender),
    sender,
  };
}

function datagramEnd(sent: StreamResult | undefined, received: StreamResult | undefined): Json {
  const result = received ?? sent;
  if (result === undefined) return {};
  return {
    start: 0,
    end: result.seconds,
    ...figures(result.counts, result.jitterMs, result.seconds, true, false),
    ...(sent !== undefined && { packets: sent.counts.packets }),
    out_of_order: result.counts.outOfOrder,
  };
}

function figures(
  counts: StreamCounts,
  jitterMs: number,
  seconds: number,
  udp: boolean,
  sender: boolean,
): Json {
  const { bytes, packets, lost, retransmits } = counts;
  return {
    seconds,
    bytes,
    bits_per_second: (bytes * 8) / Math.max(seconds, 1e-6),
    ...(!udp && sender && { retransmits }),
    ...(udp && sender && { packets }),
    ...(udp &&
      !sender && {
        jitter_ms: jitterMs,
        lost_packets: lost,
        packets,
        lost_percent: packets > 0 ? (100 * lost) / packets : 0,
      }),
  };
}
