import type { IpAddress } from '../address/index.ts';

/** Which senders to a group are wanted (RFC 3376 §2): those listed, or all but those listed. */
export interface SourceFilter {
  readonly mode: 'include' | 'exclude';
  readonly sources: readonly IpAddress[];
}

export const EVERYBODY: SourceFilter = { mode: 'exclude', sources: [] };
export const NOBODY: SourceFilter = { mode: 'include', sources: [] };

export function accepts({ mode, sources }: SourceFilter, source: IpAddress): boolean {
  return includes(sources, source) === (mode === 'include');
}

export function isNobody({ mode, sources }: SourceFilter): boolean {
  return mode === 'include' && sources.length === 0;
}

/** What the interface has to take so that every filter gets its share (RFC 3376 §3.2). */
export function mergeFilters(filters: readonly SourceFilter[]): SourceFilter {
  let included: IpAddress[] = [];
  let excluded: readonly IpAddress[] | null = null;
  for (const { mode, sources } of filters) {
    if (mode === 'include') included = [...included, ...without(sources, included)];
    else excluded = excluded === null ? sources : both(excluded, sources);
  }
  if (excluded === null) return { mode: 'include', sources: included };
  return { mode: 'exclude', sources: without(excluded, included) };
}

export function includes(addresses: readonly IpAddress[], address: IpAddress): boolean {
  for (let i = 0; i < addresses.length; i++) if (addresses[i]!.equals(address)) return true;
  return false;
}

export function without(addresses: readonly IpAddress[], others: readonly IpAddress[]): IpAddress[] {
  return addresses.filter((address) => !includes(others, address));
}

export function both(addresses: readonly IpAddress[], others: readonly IpAddress[]): IpAddress[] {
  return addresses.filter((address) => includes(others, address));
}
