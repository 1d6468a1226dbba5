export { type CableOptions, createCable, type EndOffloads } from './cable.ts';
export { type CaptureOptions, type CaptureSink, capture } from './capture.ts';
export { completeChecksum } from './complete.ts';
export { DuplexNetif, type DuplexOptions, type FrameDuplex } from './duplex.ts';
export { type ImpairedNetif, type ImpairOptions, impair } from './impair.ts';
export type { ImpairmentCounters, Impairments } from './impairment.ts';
export * from './netif.ts';
export { type ShardNetif, type ShardOptions, shard, shardOf, shardPorts } from './shard.ts';
export { type PortOptions, Switch, type SwitchOptions } from './switch.ts';
