import type { BuildOptions } from '../build-arguments.ts';
import type { CommandIo } from '../io.ts';
import { buildUnix } from './unix.ts';
import { buildXen } from './xen.ts';

/** Makes a unikernel and says which files it is. */
export async function build(options: BuildOptions, io: Pick<CommandIo, 'stdout'>): Promise<void> {
  const files = options.target === 'xen' ? await buildXen(options) : await buildUnix(options);
  io.stdout.write(`${files.join('\n')}\n`);
}
