import { UsageError } from './errors.ts';

/** A whole number from the command line. Throws {@link UsageError}. */
export function parseCount(option: string, text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw new UsageError(`--${option} ${text}: give a whole number from ${least} to ${most}.`);
  }
  return value;
}
