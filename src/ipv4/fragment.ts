import { HEADER } from './wire.ts';

/** Payload bytes of every fragment but the last: whole units of eight (RFC 791 §3.2). */
export function fragmentPayload(mtu: number): number {
  return (mtu - HEADER) & ~7;
}
