import type { Application } from '../../stack.ts';
import { parseCommand, type RunOptions } from '../arguments.ts';
import { failure, UsageError } from '../errors.ts';
import type { CommandIo } from '../io.ts';
import { runOn } from '../run.ts';

/** The options that words as of `mirage-net run NAME …` describe. Throws {@link UsageError}. */
export function readWords(name: string, words: readonly string[]): RunOptions {
  const command = parseCommand(['run', name, ...words]);
  if (command.kind === 'run') return command.options;
  throw new UsageError('A unikernel takes options of one stack and arguments of its application.');
}

/**
 * Words that come later replace those that were given when it was built: each
 * option that of its name, the application's arguments all together.
 */
export function mergeWords(built: readonly string[], given: readonly string[]): string[] {
  const [builtOptions, args] = split(built);
  const [options, moreArgs] = split(given);
  const names = new Set(options.map(optionName));
  const kept: string[] = [];
  let isKept = false;
  for (const word of builtOptions) {
    const name = optionName(word);
    // A value goes the way of the option before it.
    if (name !== null) isKept = !names.has(name);
    if (isKept) kept.push(word);
  }
  return [...kept, ...options, '--', ...(moreArgs ?? args ?? [])];
}

/** `ip` for `--ip` and for `--ip=…`; null for a value. */
function optionName(word: string): string | null {
  return /^--([^=]+)/.exec(word)?.[1] ?? null;
}

function split(words: readonly string[]): [string[], string[] | null] {
  const dashes = words.indexOf('--');
  return dashes < 0 ? [[...words], null] : [words.slice(0, dashes), words.slice(dashes + 1)];
}

/** Runs the application as `mirage-net run` would; gives the exit code, and says what went wrong. */
export async function runApplication(
  application: Application,
  name: string,
  words: readonly string[],
  io: CommandIo,
): Promise<number> {
  try {
    const options = readWords(name, words);
    return await runOn(options, name, (stack) => application(stack, options.args), io);
  } catch (error) {
    io.stderr.write(`${name}: ${failure(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}
