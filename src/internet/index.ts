export {
  type FirstFragment,
  type FragmentCounters,
  type FragmentedDatagram,
  type FragmentKey,
  FragmentStore,
} from './fragments.ts';
export { LOOPBACK_MTU, LOOPBACK_OFFLOADS, Loopback, type LoopbackHandler } from './loopback.ts';
export { HeldPacket, type HeldPath, Outbox } from './outbox.ts';
