/**
 * `mirage-net-direct/link`: networks without a device, for tests and
 * simulations: cables and switches in memory, bad lines, captures, and the
 * clocks and dice they run on. Needs nothing of Node.
 */
export { MacAddress } from '../address/index.ts';
export {
  type Alarm,
  type Clock,
  CryptoRandom,
  type Random,
  RealClock,
  runVirtual,
  SeededRandom,
  VirtualClock,
} from '../time/index.ts';
export * from './index.ts';
