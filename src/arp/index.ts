export { Arp, type ArpCounters } from './arp.ts';
export { CACHE_ENTRIES } from './cache.ts';
export type { AddressConflict } from './claim.ts';
export { EVICTED, type Neighbour, type Waiting } from './neighbour.ts';
