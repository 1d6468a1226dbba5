export { BackgroundClock } from './background-clock.ts';
export { createDgram, type DgramOptions, type NodeDgram } from './create-dgram.ts';
export { createDns, type StackDns, type StackDnsPromises } from './create-dns.ts';
export { createNet, type NetOptions, type NodeNet } from './create-net.ts';
export { duplexOf, FlowDuplex, type FlowDuplexOptions } from './flow-duplex.ts';
export { installDgram, installNet } from './install.ts';
export { installNames } from './install-names.ts';
export {
  type ApiSocket,
  createSockets,
  type SecureTransportKind,
  type SocketAddress,
  SocketError,
  type SocketInfo,
  type SocketOptions,
  type SocketsApiOptions,
} from './sockets-api.ts';
