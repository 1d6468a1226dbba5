export { duplexOf, FlowDuplex, type FlowDuplexOptions } from './flow-duplex.ts';
