/**
 * `mirage-net-direct`: a TCP/IP stack that runs in the application's own
 * process. This entry needs no Node built-in; netifs are at `./link` and
 * `./tap`, Node streams at `./net`.
 */
export { type Family, IpAddress, MacAddress, Prefix } from './address/index.ts';
export { DhcpServer, type DhcpServerOptions } from './dhcp/index.ts';
export {
  type DhcpOptions,
  DirectStack,
  type DirectStackOptions,
  type ForwardingOptions,
  type InterfaceOptions,
  type MultihomedStackOptions,
  type NameOptions,
} from './direct/index.ts';
export { DnsServer, type DnsServerOptions } from './dns/index.ts';
export { NetError, type NetErrorCode, type NetErrorDetails } from './errors.ts';
export type { NaptOptions } from './forward/index.ts';
export { Mdns, type MdnsOptions, type MdnsService } from './mdns/index.ts';
export type { Netif, NetifCounters, NetifHandler, Offloads } from './netif/index.ts';
export type {
  FrameSocket,
  FrameSocketOptions,
  RawPacket,
  RawSendOptions,
  RawSocket,
  SeenFrame,
} from './raw/index.ts';
export type {
  Application,
  CongestionControl,
  ConnectOptions,
  Datagram,
  DataListener,
  Endpoint,
  Flow,
  FlowStats,
  Listener,
  ListenOptions,
  MembershipOptions,
  Stack,
  StackStatistics,
  Tcp,
  Udp,
  UdpBindOptions,
  UdpSocket,
} from './stack.ts';
export { TCP_DEFAULTS, type TcpOptions } from './tcp/config.ts';
export { type Alarm, type Clock, CryptoRandom, type Random, RealClock, SeededRandom } from './time/index.ts';
