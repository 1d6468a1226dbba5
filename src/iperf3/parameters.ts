import {
  DEFAULT_TCP_BLOCK_BYTES,
  DEFAULT_UDP_BLOCK_BYTES,
  Iperf3Error,
  MAX_BLOCK_BYTES,
  MAX_SECONDS,
  MAX_STREAMS,
  MAX_UDP_BLOCK_BYTES,
  MIN_UDP_BLOCK_BYTES,
} from './protocol.ts';

export type Direction = 'forward' | 'reverse' | 'bidirectional';

/** A test, as the client describes it to the server. */
export interface TestParameters {
  readonly protocol: 'tcp' | 'udp';
  readonly direction: Direction;
  /** Streams in each direction. */
  readonly parallel: number;
  /** Length of the test; 0 where `bytes` or `blocks` end it. */
  readonly seconds: number;
  /** Seconds at the start that do not count. */
  readonly omitSeconds: number;
  /** Ends the test after so many bytes of all streams together; 0 for no such end. */
  readonly bytes: number;
  readonly blocks: number;
  readonly blockBytes: number;
  /** Of each stream; 0 for as fast as it goes. */
  readonly rateBps: number;
  readonly noDelay: boolean;
  /** Datagrams are numbered with 64 bits. */
  readonly wideCounters: boolean;
  /** The server's report is sent to the client. */
  readonly serverOutput: boolean;
}

/** The JSON of PARAM_EXCHANGE. */
export function encodeParameters(test: TestParameters, version: string): Record<string, unknown> {
  return {
    [test.protocol]: true,
    omit: test.omitSeconds,
    time: test.seconds,
    num: test.bytes,
    blockcount: test.blocks,
    parallel: test.parallel,
    ...(test.direction === 'reverse' && { reverse: true }),
    ...(test.direction === 'bidirectional' && { bidirectional: true }),
    len: test.blockBytes,
    ...(test.rateBps > 0 && { bandwidth: test.rateBps }),
    ...(test.noDelay && { nodelay: true }),
    ...(test.wideCounters && { udp_counters_64bit: 1 }),
    ...(test.serverOutput && { get_server_output: 1 }),
    pacing_timer: 1000,
    client_version: version,
  };
}

/** Reads what a client asks for. Throws `Iperf3Error` for what is not served. */
export function decodeParameters(json: Readonly<Record<string, unknown>>): TestParameters {
  if (json.sctp) throw new Iperf3Error('SCTP is not served');
  const protocol = json.udp ? 'udp' : 'tcp';
  const udp = protocol === 'udp';
  const read = (name: string, least: number, most: number, absent: number): number =>
    number(json, name, least, most, absent);
  return {
    protocol,
    direction: json.bidirectional ? 'bidirectional' : json.reverse ? 'reverse' : 'forward',
    parallel: read('parallel', 1, MAX_STREAMS, 1),
    seconds: read('time', 0, MAX_SECONDS, 0),
    omitSeconds: read('omit', 0, 600, 0),
    bytes: read('num', 0, Number.MAX_SAFE_INTEGER, 0),
    blocks: read('blockcount', 0, Number.MAX_SAFE_INTEGER, 0),
    blockBytes: read(
      'len',
      udp ? MIN_UDP_BLOCK_BYTES : 1,
      udp ? MAX_UDP_BLOCK_BYTES : MAX_BLOCK_BYTES,
      udp ? DEFAULT_UDP_BLOCK_BYTES : DEFAULT_TCP_BLOCK_BYTES,
    ),
    rateBps: read('bandwidth', 0, Number.MAX_SAFE_INTEGER, 0),
    noDelay: Boolean(json.nodelay),
    wideCounters: Boolean(json.udp_counters_64bit),
    serverOutput: Boolean(json.get_server_output),
  };
}

function number(
  json: Readonly<Record<string, unknown>>,
  name: string,
  least: number,
  most: number,
  absent: number,
): number {
  const value = json[name];
  if (value === undefined || value === null) return absent;
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw new Iperf3Error(
      `the client asks for ${name} ${JSON.stringify(value)}: ${least} to ${most} is served`,
    );
  }
  return value;
}

/** How many streams the client, and the server, sends. */
export function senders(test: TestParameters): { client: number; server: number } {
  return {
    client: test.direction === 'reverse' ? 0 : test.parallel,
    server: test.direction === 'forward' ? 0 : test.parallel,
  };
}

/** Both ends number the streams in the order in which they are made: 1, 3, 4, 5, … */
export function streamId(index: number): number {
  return index === 0 ? 1 : index + 2;
}
