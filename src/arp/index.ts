export { Arp, type ArpCounters } from './arp.ts';
export { NeighbourCache } from './cache.ts';
export type { AddressConflict } from './claim.ts';
export {
  DELAY,
  EVICTED,
  FAILED,
  INCOMPLETE,
  Neighbour,
  type NeighbourHost,
  PERMANENT,
  PROBE,
  REACHABLE,
  STALE,
  type Waiting,
} from './neighbour.ts';
