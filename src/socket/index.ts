export { SocketStack, type SocketStackOptions } from './stack.ts';
