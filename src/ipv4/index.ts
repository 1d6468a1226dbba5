export {
  type ErrorSender,
  type HostModel,
  Ipv4,
  type Ipv4Counters,
  type Ipv4Forwarder,
} from './ipv4.ts';
export type { Link as Ipv4Link } from './link.ts';
export { Ipv4Packet } from './packet.ts';
export { type Route, RoutingTable } from './routes.ts';
export {
  CHECKSUM as IPV4_CHECKSUM,
  DESTINATION,
  DONT_FRAGMENT,
  FLAGS_FRAGMENT,
  getFlagsFragment,
  getHeaderLength,
  getProtocol,
  getTotalLength,
  getTtl,
  getVersion,
  HEADER as IPV4_HEADER,
  IDENTIFICATION,
  MORE_FRAGMENTS,
  OFFSET_MASK,
  OPTION_END,
  OPTION_NOP,
  SOURCE,
  TOTAL_LENGTH,
  TTL,
  VERSION_IHL,
} from './wire.ts';
