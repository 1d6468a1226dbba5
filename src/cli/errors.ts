/** The command line was wrong: one sentence for stderr, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command could not be carried out: one sentence for stderr, exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}
