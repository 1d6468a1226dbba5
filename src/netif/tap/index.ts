/**
 * `mirage-net-direct/tap`: a Linux TAP device as the network interface of a
 * stack. Linux and Node only; needs the package `koffi`.
 */
export { TapNetif } from './netif.ts';
export { openTap, openTapDescriptor } from './open.ts';
export type { TapOptions } from './options.ts';
export { openTapQueues, type TapQueues } from './queues.ts';
