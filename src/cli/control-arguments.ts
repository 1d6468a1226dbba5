import { parseArgs } from 'node:util';
import { UsageError } from './errors.ts';

/** What a running stack can be asked. */
export type ControlQuestion = 'arp' | 'routes' | 'stats';

export interface ControlOptions {
  readonly question: ControlQuestion;
  /** Of the UNIX socket that `--control` named. */
  readonly path: string;
  readonly json: boolean;
}

/** Null if help is asked for. Throws {@link UsageError}. */
export function parseControl(question: ControlQuestion, argv: readonly string[]): ControlOptions | null {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      control: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  if (values.control === undefined) {
    throw new UsageError(
      `Of which stack? Give the socket of one that runs with it: mirage-net ${question} --control PATH.`,
    );
  }
  return { question, path: values.control, json: values.json };
}
