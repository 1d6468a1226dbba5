import { NetError } from '../errors.ts';

/** The command line was wrong: one sentence for stderr, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command could not be carried out: one sentence for stderr, exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** One sentence where the cause is known; the whole stack where it is a surprise. */
export function failure(error: unknown): string {
  if (error instanceof CommandError || error instanceof NetError) return error.message;
  // From the system: a file that cannot be written, …
  if (error instanceof Error && 'syscall' in error) return error.message;
  if (error instanceof SyntaxError) return syntaxError(error);
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Where it is stands above the stack: in the message itself, or, from Node's own loader, before it. */
function syntaxError({ message, stack = '' }: SyntaxError): string {
  const place = stack.slice(0, stack.indexOf('SyntaxError')).trim();
  return place === '' || message.includes(place) ? message : `${message}\n${place}`;
}
