import { DirectStack } from '../direct/index.ts';
import type { Stack } from '../stack.ts';
import { DirectNetwork } from './direct-network.ts';
import { FlowNetwork } from './flow-network.ts';
import type { Network } from './transport.ts';

/** `stack` as the faces of Node use it, by the shortest way there is. */
export function networkOf(stack: Stack): Network {
  return stack instanceof DirectStack ? new DirectNetwork(stack) : new FlowNetwork(stack);
}
