export { type Family, IpAddress } from './ip.ts';
export { MacAddress } from './mac.ts';
export { Prefix } from './prefix.ts';
