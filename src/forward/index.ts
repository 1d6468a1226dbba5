export { OWN_EPHEMERAL_PORTS } from './mappings.ts';
export { Napt, type NaptCounters, type NaptOptions } from './napt.ts';
export { Ipv4Router, type RouterCounters } from './router4.ts';
export { Ipv6Router } from './router6.ts';
export type { Filtering } from './sessions.ts';
