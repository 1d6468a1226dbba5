export { AddressMap } from './address-map.ts';
export { Ipv6, type LinkRoute } from './ipv6.ts';
export type { Ipv6Configuration, Link as Ipv6Link } from './link.ts';
export { LISTENER_QUERY, LISTENER_REPORT_V1 } from './mld-wire.ts';
export {
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  REDIRECT,
  ROUTER_ADVERTISEMENT,
  ROUTER_SOLICITATION,
} from './ndp-wire.ts';
export { Ipv6Packet } from './packet.ts';
export type { ErrorSender as Ipv6ErrorSender, Ipv6Forwarder } from './receiver.ts';
export { RoutingTable as Ipv6RoutingTable } from './routes.ts';
export { ALL_ROUTERS, isLinkLocal } from './scope.ts';
export {
  DESTINATION as IPV6_DESTINATION,
  FRAGMENT_HEADER,
  getNextHeader,
  getVersion,
  HEADER as IPV6_HEADER,
  HOP_LIMIT,
  MIN_MTU as IPV6_MIN_MTU,
  NEXT_DESTINATION_OPTIONS,
  NEXT_FRAGMENT,
  NEXT_HOP_BY_HOP,
  NEXT_ROUTING,
  PAYLOAD_LENGTH,
  PROTOCOL_ICMPV6,
  SOURCE as IPV6_SOURCE,
} from './wire.ts';
