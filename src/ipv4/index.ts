export { type ErrorSender, type HostModel, Ipv4, type Ipv4Counters } from './ipv4.ts';
export type { Link as Ipv4Link } from './link.ts';
export { Ipv4Packet } from './packet.ts';
export { type Route, RoutingTable } from './routes.ts';
export {
  DESTINATION,
  getFlagsFragment,
  getHeaderLength,
  getProtocol,
  getTotalLength,
  getVersion,
  HEADER as IPV4_HEADER,
  OFFSET_MASK,
  SOURCE,
} from './wire.ts';
