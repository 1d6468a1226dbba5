/** Types that a user of the stack meets; none of `dns-packet`'s, whose declarations are not installed with us. */

/** What can be asked for. */
export type DnsType = 'A' | 'AAAA' | 'CNAME' | 'PTR' | 'SRV' | 'TXT';

export interface SrvData {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

/** A record's data by its type; a TXT record's strings as they come. */
export interface DnsData {
  A: string;
  AAAA: string;
  CNAME: string;
  PTR: string;
  SRV: SrvData;
  TXT: string[];
}

/** What is known under a name. */
export interface DnsAnswer<T extends DnsType> {
  /** Empty where there are none. */
  readonly data: readonly DnsData[T][];
  /** For how many seconds it holds. */
  readonly ttl: number;
  /** Whether there is such a name, be it with other records. */
  readonly exists: boolean;
}

/** What a message says about a question. Times in seconds. */
export type Outcome<T extends DnsType> =
  | { readonly kind: 'records'; readonly data: readonly DnsData[T][]; readonly ttl: number }
  /** The name is an alias, and the message does not say of what. */
  | { readonly kind: 'alias'; readonly target: string; readonly ttl: number }
  /** No such name, or (`exists`) none with such records; `ttl` 0 if it is not to be remembered. */
  | { readonly kind: 'absent'; readonly exists: boolean; readonly ttl: number }
  /** The server cannot say. */
  | { readonly kind: 'failure'; readonly rcode: string };
