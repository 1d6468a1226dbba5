/** Flows as WHATWG streams: what browsers, Deno, Bun and Node have in common. */
export { type FlowStreams, type StreamSource, streamsOf } from './flow-streams.ts';
