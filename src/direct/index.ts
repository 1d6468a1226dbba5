export type { DhcpOptions } from './dhcp.ts';
export type { NameOptions } from './names.ts';
export { Network, type NetworkOptions } from './network.ts';
export { DirectStack, type DirectStackOptions } from './stack.ts';
