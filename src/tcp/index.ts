export { TCP_DEFAULTS, type TcpConfig, type TcpOptions, type TraceSample } from './config.ts';
export { Connection, type ConnectionHandler } from './connection.ts';
export { DirectTcp } from './direct.ts';
export { endpoint, TcpFlow } from './flow.ts';
export { ListenSocket } from './listener.ts';
export { type TcpConnectOptions, TcpLayer, type TcpLayerOptions, type TcpListenOptions } from './tcp.ts';
export * as tcpWire from './wire.ts';
