export { DirectUdp } from './direct.ts';
export { checkPort } from './errors.ts';
export { DATAGRAM_OVERHEAD, RECEIVE_BUFFER, Receiver } from './receiver.ts';
export { DirectUdpSocket, type Resolve, SEND_BUFFER } from './socket.ts';
export { type UdpCounters, UdpLayer, type UdpLayerOptions } from './udp.ts';
