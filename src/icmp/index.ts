export { ReceivedError } from './errors.ts';
export type { EchoListener, EchoReply, IcmpCounters } from './icmp.ts';
export { Icmp } from './icmp.ts';
export { Icmpv6, type Icmpv6Counters } from './icmpv6.ts';
export { isError as isIcmpError, isQuery as isIcmpQuery } from './wire.ts';
