export { FrameSocket, type FrameSocketOptions, RawFrames, type SeenFrame } from './frame-socket.ts';
export { RawIp, type RawPacket, type RawSendOptions, RawSocket } from './ip-socket.ts';
