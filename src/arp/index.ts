export { Arp, type ArpCounters } from './arp.ts';
export type { AddressConflict } from './claim.ts';
export { EVICTED, type Neighbour, type Waiting } from './neighbour.ts';
