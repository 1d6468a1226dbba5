/** Happy eyeballs, version 2 (RFC 8305): several addresses of one host, the first that answers wins. */
import type { IpAddress } from '../address/index.ts';
import type { Clock } from '../time/clock.ts';

/** RFC 8305 §8, Connection Attempt Delay. */
const ATTEMPT_DELAY_MS = 250;

/** RFC 8305 §4: the families in turn, so that one that is broken costs one delay; the order is else kept. */
export function interleave(addresses: readonly IpAddress[]): IpAddress[] {
  const [first] = addresses;
  if (first === undefined) return [];
  const mine = addresses.filter(({ isIpv4 }) => isIpv4 === first.isIpv4);
  const other = addresses.filter(({ isIpv4 }) => isIpv4 !== first.isIpv4);
  const order: IpAddress[] = [];
  for (let i = 0; i < Math.max(mine.length, other.length); i++) {
    if (i < mine.length) order.push(mine[i]!);
    if (i < other.length) order.push(other[i]!);
  }
  return order;
}

/**
 * Opens one address after the other, each a while after the one before or as
 * soon as that has failed. Answers the first that opens, and aborts the others
 * (`discard` takes one that opened all the same); rejects, if all fail, with the
 * error of the first.
 */
export function race<T>(
  clock: Clock,
  addresses: readonly IpAddress[],
  open: (address: IpAddress, signal: AbortSignal) => Promise<T>,
  discard: (opened: T) => void,
  signal: AbortSignal | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const running = new Set<AbortController>();
    let next = 0;
    let firstError: unknown;
    let over = false;
    const finish = (): void => {
      over = true;
      alarm.clear();
      signal?.removeEventListener('abort', onAbort);
      for (const controller of running) controller.abort();
    };
    const onAbort = (): void => {
      finish();
      reject(signal!.reason);
    };
    const attempt = (): void => {
      const address = addresses[next]!;
      const isFirst = next++ === 0;
      if (next < addresses.length) alarm.set(clock.now() + ATTEMPT_DELAY_MS);
      const controller = new AbortController();
      running.add(controller);
      open(address, controller.signal).then(
        (opened) => {
          running.delete(controller);
          if (over) {
            discard(opened);
            return;
          }
          finish();
          resolve(opened);
        },
        (error: unknown) => {
          running.delete(controller);
          if (over) return;
          if (isFirst) firstError = error;
          if (next < addresses.length) {
            attempt();
          } else if (running.size === 0) {
            finish();
            reject(firstError);
          }
        },
      );
    };
    const alarm = clock.alarm(attempt);
    signal?.addEventListener('abort', onAbort);
    attempt();
  });
}
