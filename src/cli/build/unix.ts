import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { UnixBuildOptions } from '../build-arguments.ts';
import { bundle } from './bundle.ts';
import { koffiFiles } from './closure.ts';

/**
 * A folder with all that a process needs but Node, and in it a command of the
 * application's name, which root starts.
 *
 * @returns the path of the command
 */
export async function buildUnix({ app, name, out, words, user }: UnixBuildOptions): Promise<string[]> {
  const folder = join(resolve(out), `${name}.unikernel`);
  const main = await bundle(app, name, 'unix');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'main.mjs'), main);
  writeFileSync(join(folder, 'unikernel.json'), `${JSON.stringify({ name, words, user }, null, 2)}\n`);
  for (const { path, data } of koffiFiles('node_modules')) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), data);
  }
  const command = join(resolve(out), name);
  writeFileSync(command, `#!/usr/bin/env node\nimport(${JSON.stringify(`./${name}.unikernel/main.mjs`)});\n`);
  chmodSync(command, 0o755);
  return [command];
}
