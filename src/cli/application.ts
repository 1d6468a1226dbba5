import { access } from 'node:fs/promises';
import { register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Application } from '../stack.ts';
import { CommandError } from './errors.ts';

/**
 * Imports the module at `path` (JavaScript or TypeScript) and gives its default
 * export. Throws {@link CommandError} where there is no such file or export.
 */
export async function loadApplication(path: string): Promise<Application> {
  const file = await findApplication(path);
  const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  if (typeof module.default !== 'function') {
    throw new CommandError(
      `${path} is not an application: its default export has to be a function, async (stack, args) => { … }.`,
    );
  }
  return module.default as Application;
}

/** The absolute path of the module at `path`, which can be imported from then on even if it is TypeScript. */
export async function findApplication(path: string): Promise<string> {
  const file = resolve(path);
  await access(file).catch((cause: unknown) => {
    throw new CommandError(`There is no application at ${path}.`, { cause });
  });
  if (/\.m?ts$/.test(file)) registerTypeScript();
  return file;
}

let registered = false;

function registerTypeScript(): void {
  // Node 22.18 and later strip types themselves; the property says whether.
  if (registered || (process.features as { typescript?: unknown }).typescript) return;
  registered = true;
  register('./typescript-hooks.js', import.meta.url);
}
