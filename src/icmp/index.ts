export type { EchoListener, EchoReply, IcmpCounters } from './icmp.ts';
export { Icmp } from './icmp.ts';
