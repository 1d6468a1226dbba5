export type { Alarm, Clock, Moment } from './clock.ts';
export { EventHeap, type HeapItem } from './heap.ts';
export { CryptoRandom, type Random, randomBelow, randomFraction, SeededRandom } from './random.ts';
export { RealClock } from './real.ts';
export { Timer, type TimerOwner, TimerWheel } from './timers.ts';
export { runVirtual, VirtualClock } from './virtual.ts';
