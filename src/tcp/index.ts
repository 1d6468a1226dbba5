export type { TcpConnectOptions } from './active.ts';
export { TCP_DEFAULTS, type TcpConfig, type TcpOptions, type TraceSample } from './config.ts';
export { Connection } from './connection.ts';
export { DirectTcp } from './direct.ts';
export { endpoint, TcpFlow } from './flow.ts';
export type { Borrower, ConnectionHandler } from './handler.ts';
export { ListenSocket } from './listener.ts';
export { TcpLayer, type TcpLayerOptions, type TcpListenOptions } from './tcp.ts';
export * as tcpWire from './wire.ts';
