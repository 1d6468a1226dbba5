import { parseArgs } from 'node:util';
import { IpAddress, Prefix } from '../address/index.ts';
import { BUILD_OPTIONS, type BuildOptions, readBuild } from './build-arguments.ts';
import { type ControlOptions, parseControl } from './control-arguments.ts';
import { UsageError } from './errors.ts';
import { type HelpTopic, isHelpTopic } from './help.ts';
import { type ImpairSpec, parseImpairment } from './impairment.ts';
import { type InterfaceSpec, interfaceName, parseInterface } from './interface-arguments.ts';
import { IPERF3_OPTIONS, type Iperf3Options, readIperf3 } from './iperf3-arguments.ts';
import { parseCount } from './numbers.ts';
import { PING_OPTIONS, type PingOptions, readPing } from './ping-arguments.ts';
import { parseXen, type XenOptions } from './xen-arguments.ts';

export type NetifSpec =
  | { readonly kind: 'tap'; readonly name: string }
  | { readonly kind: 'fd'; readonly fd: number }
  /** This domain's network card with that number. */
  | { readonly kind: 'xen'; readonly index: number }
  /** The backend of another domain's network card. */
  | { readonly kind: 'vif'; readonly frontend: number; readonly index: number }
  | { readonly kind: 'stream'; readonly listen: boolean; readonly path: string }
  | { readonly kind: 'stream'; readonly listen: boolean; readonly host: string; readonly port: number };

interface CommonStackOptions {
  /** Prints the stack's counters when the command ends. */
  readonly stats: boolean;
}

export interface SocketStackOptions extends CommonStackOptions {
  readonly net: 'socket';
}

export interface DirectStackOptions extends CommonStackOptions {
  readonly net: 'direct';
  readonly netif: NetifSpec;
  readonly offloads: boolean | 'software';
  /** CIDR of the kernel's end of a TAP. */
  readonly hostIp?: string;
  /** CIDR of the stack: `10.0.0.2/24`, or `dhcp`. */
  readonly ip: string;
  /** `auto`, `link-local`, or the CIDR of the stack. */
  readonly ip6?: string;
  readonly gateway?: string;
  readonly gateway6?: string;
  /** What else the first interface was told in `--netif`, and the interfaces besides it. */
  readonly first?: Omit<InterfaceSpec, 'netif'>;
  readonly others?: readonly InterfaceSpec[];
  /** Passes packets on between the interfaces. */
  readonly forward?: true;
  /** The interface whose address those that are behind the stack share. */
  readonly napt?: string;
  /** Path of a UNIX socket that answers `mirage-net arp|routes|stats`. */
  readonly control?: string;
  readonly pcap?: string;
  /** Most bytes of each frame that the capture keeps. */
  readonly snapLength?: number;
  readonly impair?: ImpairSpec;
}

/** Which stack, over what. */
export type StackOptions = SocketStackOptions | DirectStackOptions;

export type RunOptions = StackOptions & {
  /** Path of the application's module. */
  readonly app: string;
  readonly args: string[];
  /** The application is an ordinary Node program, whose `node:net` and all above it are put on the stack. */
  readonly register?: boolean;
};

/** What several threads can share: a TAP of their own, with an address that all know. */
export type WorkerRunOptions = DirectStackOptions & RunOptions & { readonly netif: { readonly kind: 'tap' } };

export type Command =
  | { readonly kind: 'run'; readonly options: RunOptions }
  | { readonly kind: 'run-workers'; readonly options: WorkerRunOptions; readonly workers: number }
  | { readonly kind: 'iperf3'; readonly stack: StackOptions; readonly test: Iperf3Options }
  | { readonly kind: 'build'; readonly options: BuildOptions }
  | { readonly kind: 'ping'; readonly stack: DirectStackOptions; readonly ping: PingOptions }
  | { readonly kind: 'router'; readonly stack: DirectStackOptions }
  | { readonly kind: 'control'; readonly options: ControlOptions }
  | { readonly kind: 'xen'; readonly options: XenOptions }
  | { readonly kind: 'demo'; readonly pcap?: string; readonly seconds: number }
  | { readonly kind: 'help'; readonly topic: HelpTopic }
  | { readonly kind: 'version' };

/** Reads the words after `mirage-net`. Throws {@link UsageError}. */
export function parseCommand(argv: readonly string[]): Command {
  const [name, ...rest] = argv;
  switch (name) {
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      return { kind: 'help', topic: isHelpTopic(rest[0]) ? rest[0] : 'mirage-net' };
    case '--version':
    case '-v':
      return { kind: 'version' };
    case 'run':
      return parseRun(rest);
    case 'iperf3':
      return parseIperf3(rest);
    case 'build':
      return parseBuild(rest);
    case 'ping':
      return parsePing(rest);
    case 'router':
      return parseRouter(rest);
    case 'arp':
    case 'routes':
    case 'stats': {
      const options = usage(() => parseControl(name, rest));
      return options === null ? { kind: 'help', topic: 'control' } : { kind: 'control', options };
    }
    case 'xen': {
      const options = usage(() => parseXen(rest));
      return options === null ? { kind: 'help', topic: 'xen' } : { kind: 'xen', options };
    }
    case 'demo':
      return parseDemo(rest);
    default:
      throw new UsageError(
        `There is no command "${name}": it is one of run, router, ping, arp, routes, stats, build, iperf3, xen, demo and help.`,
      );
  }
}

const STACK_OPTIONS = {
  net: { type: 'string', default: 'direct' },
  netif: { type: 'string', multiple: true },
  offloads: { type: 'string' },
  'no-offloads': { type: 'boolean', default: false },
  'host-ip': { type: 'string' },
  ip: { type: 'string' },
  ip6: { type: 'string' },
  gateway: { type: 'string' },
  gateway6: { type: 'string' },
  forward: { type: 'boolean', default: false },
  napt: { type: 'string' },
  control: { type: 'string' },
  pcap: { type: 'string' },
  snaplen: { type: 'string' },
  impair: { type: 'string' },
  stats: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

const RUN_OPTIONS = {
  register: { type: 'boolean', default: false },
  workers: { type: 'string' },
} as const;

/** Options that describe a netif, which the host's sockets do not have. */
const DIRECT_ONLY = [
  'netif',
  'offloads',
  'no-offloads',
  'host-ip',
  'ip',
  'ip6',
  'gateway',
  'gateway6',
  'forward',
  'napt',
  'control',
  'pcap',
  'snaplen',
  'impair',
] as const;

function parseRun(argv: readonly string[]): Command {
  const separator = argv.indexOf('--');
  const own = separator < 0 ? argv : argv.slice(0, separator);
  const args = separator < 0 ? [] : argv.slice(separator + 1);
  const { values, positionals } = usage(() =>
    parseArgs({ args: [...own], options: { ...STACK_OPTIONS, ...RUN_OPTIONS }, allowPositionals: true }),
  );
  if (values.help) return { kind: 'help', topic: 'run' };
  const [app, surplus] = positionals;
  if (app === undefined) {
    throw new UsageError('Which application? Give its file: mirage-net run APP.js …');
  }
  if (surplus !== undefined) {
    throw new UsageError(
      `"${surplus}" is one word too many: what is meant for the application comes after --, as in: mirage-net run ${app} … -- ${surplus}`,
    );
  }
  const { register } = values;
  const options: RunOptions = { ...parseStack(values), app, args, ...(register && { register }) };
  if (values.workers === undefined) return { kind: 'run', options };
  if (register) throw new UsageError('--register is for one thread: it has no --workers.');
  const workers = parseCount('workers', values.workers, 1, 64);
  if (!canShare(options)) {
    throw new UsageError(
      '--workers share one TAP device and its address: give --netif tap:NAME and --ip CIDR (no dhcp, no --ip6 auto).',
    );
  }
  if (options.pcap !== undefined) {
    throw new UsageError('--pcap writes what one stack sees; use tcpdump on the device of several workers.');
  }
  return { kind: 'run-workers', options, workers };
}

function canShare(options: RunOptions): options is WorkerRunOptions {
  return (
    options.net === 'direct' &&
    options.netif.kind === 'tap' &&
    options.others === undefined &&
    options.first?.vlan === undefined &&
    options.ip !== 'dhcp' &&
    options.ip6 !== 'auto'
  );
}

function parseBuild(argv: readonly string[]): Command {
  const separator = argv.indexOf('--');
  const own = separator < 0 ? argv : argv.slice(0, separator);
  const args = separator < 0 ? [] : argv.slice(separator + 1);
  const { values, positionals } = usage(() =>
    parseArgs({
      args: [...own],
      options: { ...STACK_OPTIONS, ...BUILD_OPTIONS },
      allowPositionals: true,
    }),
  );
  if (values.help) return { kind: 'help', topic: 'build' };
  if (values.target === 'xen') values.netif ??= ['xen:0'];
  const words = Object.keys(STACK_OPTIONS).flatMap((option) => {
    const value = values[option as keyof typeof STACK_OPTIONS];
    if (value === undefined || value === false || option === 'net') return [];
    if (value === true) return [`--${option}`];
    return [value].flat().flatMap((one) => [`--${option}`, one]);
  });
  const options = readBuild(values, positionals, [...words, '--', ...args]);
  const stack = parseStack(values);
  const kind = stack.net === 'direct' ? stack.netif.kind : null;
  if (options.target === 'xen' ? kind !== 'xen' && kind !== 'vif' : kind !== 'tap') {
    const wanted = options.target === 'xen' ? 'xen:INDEX' : 'tap:NAME';
    throw new UsageError(`A unikernel for ${options.target} has --netif ${wanted}.`);
  }
  if (options.target === 'unix' && stack.net === 'direct' && stack.others !== undefined) {
    throw new UsageError('A unikernel for unix has one --netif: one device is handed over.');
  }
  return { kind: 'build', options };
}

function parseIperf3(argv: readonly string[]): Command {
  const { values } = usage(() =>
    parseArgs({ args: [...argv], options: { ...STACK_OPTIONS, ...IPERF3_OPTIONS } }),
  );
  if (values.help) return { kind: 'help', topic: 'iperf3' };
  return { kind: 'iperf3', test: readIperf3(values), stack: parseStack(values) };
}

type StackValues = ReturnType<typeof parseArgs<{ options: typeof STACK_OPTIONS }>>['values'];

function parseStack(values: StackValues): StackOptions {
  const { stats } = values;
  if (values.net === 'socket') {
    const stray = DIRECT_ONLY.find((option) => values[option] !== undefined && values[option] !== false);
    if (stray !== undefined) {
      throw new UsageError(
        `--${stray} does not apply to --net socket, which uses the host's own sockets and has no netif.`,
      );
    }
    return { net: 'socket', stats };
  }
  if (values.net !== 'direct') {
    throw new UsageError(`--net ${values.net}: it is "direct" (our stack) or "socket" (the host's sockets).`);
  }
  if (values.netif === undefined) {
    throw new UsageError(
      '--net direct needs a network interface, as in --netif tap:mnd0 (or use --net socket).',
    );
  }
  const [{ netif, ...first }, ...others] = values.netif.map((text) => parseInterface(text, parseNetif)) as [
    InterfaceSpec,
    ...InterfaceSpec[],
  ];
  const address = values.ip ?? first.ip;
  if (address === undefined) {
    throw new UsageError('--net direct needs an address for the stack, as in --ip 10.0.0.2/24.');
  }
  const ip = address === 'dhcp' ? address : parseCidr('ip', address);
  const { gateway = first.gateway, gateway6 = first.gateway6, ip6 = first.ip6, pcap, napt, control } = values;
  const hostIp = values['host-ip'] ?? first.hostIp;
  const names = [{ netif, ...first }, ...others].map(interfaceName);
  if (napt !== undefined && !names.includes(napt)) {
    throw new UsageError(`--napt ${napt}: there is no such interface, only ${names.join(', ')}.`);
  }
  if (netif.kind !== 'tap' && netif.kind !== 'fd' && hostIp !== undefined) {
    const other = netif.kind === 'stream' ? 'a stream has another program' : 'Xen has another domain';
    throw new UsageError(`--host-ip is for the kernel's end of a TAP; ${other} there.`);
  }
  if (gateway !== undefined) parseAddress('gateway', gateway);
  if (gateway6 !== undefined) parseAddress6('gateway6', gateway6);
  if (values.snaplen !== undefined && pcap === undefined) {
    throw new UsageError('--snaplen shortens what --pcap FILE keeps; there is no --pcap.');
  }
  return {
    net: 'direct',
    stats,
    netif,
    offloads: parseOffloads(values.offloads, values['no-offloads']),
    ip,
    ...(Object.keys(first).length > 0 && { first }),
    ...(others.length > 0 && { others }),
    ...((values.forward || napt !== undefined) && { forward: true }),
    ...(ip6 !== undefined && { ip6: parseIp6(ip6) }),
    ...(hostIp !== undefined && { hostIp: parseCidr('host-ip', hostIp) }),
    ...(gateway !== undefined && { gateway }),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(napt !== undefined && { napt }),
    ...(control !== undefined && { control }),
    ...(pcap !== undefined && { pcap }),
    ...(values.snaplen !== undefined && { snapLength: parseCount('snaplen', values.snaplen, 14, 262_144) }),
    ...(values.impair !== undefined && { impair: parseImpairment(values.impair) }),
  };
}

function parseOffloads(text: string | undefined, isRefused: boolean): boolean | 'software' {
  if (text === undefined) return !isRefused;
  if (isRefused) throw new UsageError('--no-offloads is --offloads off; give one of them.');
  switch (text) {
    case 'on':
      return true;
    case 'off':
      return false;
    case 'software':
      return text;
    default:
      throw new UsageError(`--offloads ${text}: it is "on", "off" or "software".`);
  }
}

function parseDemo(argv: readonly string[]): Command {
  const { values } = usage(() =>
    parseArgs({
      args: [...argv],
      options: {
        pcap: { type: 'string' },
        seconds: { type: 'string', default: '3' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }),
  );
  if (values.help) return { kind: 'help', topic: 'demo' };
  return {
    kind: 'demo',
    seconds: parseCount('seconds', values.seconds, 1, 60),
    ...(values.pcap !== undefined && { pcap: values.pcap }),
  };
}

function parsePing(argv: readonly string[]): Command {
  const { values, positionals } = usage(() =>
    parseArgs({ args: [...argv], options: { ...STACK_OPTIONS, ...PING_OPTIONS }, allowPositionals: true }),
  );
  if (values.help) return { kind: 'help', topic: 'ping' };
  const stack = parseStack(values);
  if (stack.net !== 'direct') throw new UsageError('ping sends its own packets: --net socket cannot.');
  return { kind: 'ping', stack, ping: readPing(values, positionals) };
}

function parseRouter(argv: readonly string[]): Command {
  const { values } = usage(() => parseArgs({ args: [...argv], options: STACK_OPTIONS }));
  if (values.help) return { kind: 'help', topic: 'router' };
  const stack = parseStack(values);
  if (stack.net !== 'direct')
    throw new UsageError('A router has interfaces of its own: --net socket has none.');
  if (stack.others === undefined) {
    throw new UsageError('A router needs two interfaces: give --netif twice, each with its ip=CIDR.');
  }
  return { kind: 'router', stack: { ...stack, forward: true } };
}

function parseNetif(text: string): NetifSpec {
  const colon = text.indexOf(':');
  const kind = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? '' : text.slice(colon + 1);
  switch (kind) {
    case 'tap':
      if (rest === '') throw new UsageError('--netif tap: needs the name of the device, as in tap:mnd0.');
      return { kind: 'tap', name: rest };
    case 'fd':
      return { kind: 'fd', fd: parseCount('netif fd:', rest, 0, 2 ** 31 - 1) };
    case 'stream':
      return parseStream(rest);
    case 'xen':
      return { kind: 'xen', index: parseCount('netif xen:', rest, 0, 0xffff) };
    case 'vif': {
      const [, frontend = '', index = ''] = /^(\d+)\.(\d+)$/.exec(rest) ?? [];
      if (index === '') {
        throw new UsageError(`--netif ${text}: give the domain and its card, as in vif:3.0.`);
      }
      return {
        kind: 'vif',
        frontend: parseCount('netif vif:', frontend, 0, 0x7fef),
        index: parseCount('netif vif:', index, 0, 0xffff),
      };
    }
    default:
      throw new UsageError(
        `--netif ${text}: it is tap:NAME, fd:N for a TAP that the parent process opened, stream:PATH, or on Xen xen:INDEX.`,
      );
  }
}

/** `PATH` or `tcp:HOST:PORT`, with `listen:` before it to wait for a peer. */
function parseStream(text: string): NetifSpec {
  const listen = text.startsWith('listen:');
  const address = listen ? text.slice('listen:'.length) : text;
  if (!address.startsWith('tcp:')) {
    if (address !== '') return { kind: 'stream', listen, path: address };
    throw new UsageError('--netif stream: needs the path of a UNIX socket, as in stream:/run/net.sock.');
  }
  const match = /^tcp:(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(address);
  if (match === null) {
    throw new UsageError(`--netif stream:${text}: give host and port, as in stream:tcp:127.0.0.1:5555.`);
  }
  const port = parseCount('netif stream:tcp:HOST:', match[3]!, listen ? 0 : 1, 65_535);
  return { kind: 'stream', listen, host: (match[1] ?? match[2])!, port };
}

/** `auto`, `link-local`, or an IPv6 address with its prefix length. */
function parseIp6(text: string): string {
  if (text === 'auto' || text === 'link-local') return text;
  try {
    if (text.includes('/') && !Prefix.parse(text).address.isIpv4) return text;
  } catch {
    // Said below.
  }
  throw new UsageError(
    `--ip6 ${text}: it is auto (what routers advertise), link-local, or an address such as fd00::2/64.`,
  );
}

function parseAddress6(option: string, text: string): void {
  if (IpAddress.tryParse(text)?.isIpv4 === false) return;
  throw new UsageError(`--${option} ${text}: give an IPv6 address, as in fd00::1.`);
}

function parseCidr(option: string, text: string): string {
  if (text === 'dhcp') {
    throw new UsageError(
      `--${option} dhcp: the kernel's end is given an address, as in 10.0.0.1/24; only --ip can be dhcp.`,
    );
  }
  let prefix: Prefix;
  try {
    prefix = Prefix.parse(text);
  } catch {
    throw new UsageError(`--${option} ${text}: give an address with its prefix length, as in 10.0.0.2/24.`);
  }
  if (!prefix.address.isIpv4) {
    throw new UsageError(`--${option} ${text}: give an IPv4 address; IPv6 has --ip6.`);
  }
  if (!text.includes('/')) {
    throw new UsageError(
      `--${option} ${text} lacks the prefix length; for a network of 254 hosts: ${text}/24.`,
    );
  }
  return text;
}

function parseAddress(option: string, text: string): void {
  try {
    if (IpAddress.parse(text).isIpv4) return;
  } catch {
    // Said below.
  }
  throw new UsageError(`--${option} ${text}: give an IPv4 address, as in 10.0.0.1.`);
}

/** `parseArgs` with its complaints turned into usage errors. */
function usage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
