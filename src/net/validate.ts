/** Checks of arguments that throw what Node throws. */
import { badPort, invalidArgType, outOfRange } from './node-errors.ts';

/** The longest delay of a host timer. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export function validateNumber(value: unknown, name: string): asserts value is number {
  if (typeof value !== 'number') throw invalidArgType(name, 'number', value);
}

export function validateString(value: unknown, name: string): asserts value is string {
  if (typeof value !== 'string') throw invalidArgType(name, 'string', value);
}

export function validateBoolean(value: unknown, name: string): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalidArgType(name, 'boolean', value);
}

export function validateFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgType(name, 'function', value);
}

export function validateInt32(value: unknown, name: string, least = -(2 ** 31)): asserts value is number {
  validateInteger(value, name, least, 2 ** 31 - 1);
}

export function validateUint32(value: unknown, name: string): asserts value is number {
  validateInteger(value, name, 0, 2 ** 32 - 1);
}

function validateInteger(value: unknown, name: string, least: number, most: number): void {
  validateNumber(value, name);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < least || value > most) throw outOfRange(name, `>= ${least} && <= ${most}`, value);
}

export function validateAbortSignal(value: unknown, name: string): asserts value is AbortSignal {
  if (value === undefined) return;
  if (value === null || typeof value !== 'object' || !('aborted' in value)) {
    throw invalidArgType(name, 'AbortSignal', value);
  }
}

/** The port as a number. Takes decimal, hexadecimal… strings, as Node does. */
export function validatePort(port: unknown, name = 'Port', allowZero = true): number {
  const isText = typeof port === 'string';
  if (
    (typeof port !== 'number' && !isText) ||
    (isText && port.trim().length === 0) ||
    +port !== +port >>> 0 ||
    +port > 0xffff ||
    (port === 0 && !allowZero)
  ) {
    throw badPort(name, port, allowZero);
  }
  return +port | 0;
}

/** A delay for a timer, in milliseconds. */
export function validateDelay(value: unknown, name: string): number {
  validateNumber(value, name);
  if (value < 0 || !Number.isFinite(value)) throw outOfRange(name, 'a non-negative finite number', value);
  if (value <= LONGEST_TIMEOUT_MS) return value;
  process.emitWarning(
    `${value} does not fit into a 32-bit signed integer.\n` +
      `Timer duration was truncated to ${LONGEST_TIMEOUT_MS}.`,
    'TimeoutOverflowWarning',
  );
  return LONGEST_TIMEOUT_MS;
}
