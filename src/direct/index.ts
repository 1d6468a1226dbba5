export type { DhcpOptions } from './dhcp.ts';
export type { Interface } from './interface.ts';
export type { NameOptions } from './names.ts';
export { type ForwardingOptions, Network, type NetworkOptions, type RouteOptions } from './network.ts';
export {
  DirectStack,
  type DirectStackOptions,
  type InterfaceOptions,
  type MultihomedStackOptions,
} from './stack.ts';
export type { NeighbourEntry, RouteEntry } from './tables.ts';
