export {
  type FirstFragment,
  type FragmentCounters,
  type FragmentedDatagram,
  type FragmentKey,
  FragmentStore,
} from './fragments.ts';
export type { GroupRecord } from './group.ts';
export { LOOPBACK_MTU, LOOPBACK_OFFLOADS, Loopback, type LoopbackHandler } from './loopback.ts';
export {
  CURRENT,
  FIRST,
  floatingCode,
  type GroupProtocol,
  type GroupQuery,
  type GroupSubscription,
  type GroupVersion,
  type MembershipCounters,
  Memberships,
  PREVIOUS,
} from './memberships.ts';
export { HeldPacket, type HeldPath, Outbox } from './outbox.ts';
export { RecentlyAsked } from './recently-asked.ts';
export { accepts, EVERYBODY, type SourceFilter } from './source-filter.ts';
