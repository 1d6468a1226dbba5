export { Network, type NetworkOptions } from './network.ts';
export { DirectStack, type DirectStackOptions } from './stack.ts';
