/**
 * `mirage-net-direct/stream`: frames over a UNIX or TCP socket, each behind its
 * length, as QEMU's `-netdev stream` and passt carry them. Node only.
 */
export { StreamNetif } from './netif.ts';
export { openStream, type StreamOptions } from './open.ts';
export type { ReconnectOptions } from './peers.ts';
