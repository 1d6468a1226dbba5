import type { Stack, StackStatistics } from '../stack.ts';

const INTERVAL_MS = 100;

/**
 * Resolves when the stack has no listener, connection or datagram socket left,
 * so that a command ends as a program over the kernel's sockets would.
 */
export function untilUnused(stack: Stack): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      const { tcp, udp } = stack.statistics();
      const inUse = gauge(tcp, 'listeners') + gauge(tcp, 'flows') + gauge(udp, 'sockets');
      if (inUse === 0) resolve();
      else setTimeout(look, INTERVAL_MS);
    };
    look();
  });
}

function gauge(counters: StackStatistics[string] | undefined, name: string): number {
  const value = typeof counters === 'object' ? counters[name] : undefined;
  if (typeof value !== 'number') throw new TypeError(`the stack's statistics have no number "${name}"`);
  return value;
}
