export { DnsCache } from './cache.ts';
export { type ExchangeCounters, parseServer } from './exchange.ts';
export { dataOf, decode as decodeMessage } from './message.ts';
export { normalize as normalizeName, reverseName } from './names.ts';
export { Resolver, type ResolverOptions } from './resolver.ts';
export { DnsServer, type DnsServerOptions, type ZoneRecord } from './server.ts';
export { endOfName } from './sound.ts';
export type { DnsAnswer, DnsData, DnsType, SrvData } from './types.ts';
