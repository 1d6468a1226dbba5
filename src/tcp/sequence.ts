/**
 * Sequence numbers are int32 and wrap (RFC 9293 §3.4). Only these functions
 * compare them: a difference is taken modulo 2^32 and read as signed, which is
 * right while two numbers are less than 2^31 apart.
 */

export function before(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

export function atOrBefore(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

export function after(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

export function atOrAfter(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}

/** `a - b` as a signed distance. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}

export function advance(sequence: number, bytes: number): number {
  return (sequence + bytes) | 0;
}

export function later(a: number, b: number): number {
  return ((a - b) | 0) > 0 ? a : b;
}

export function earlier(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? a : b;
}
