import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../errors.ts';

/** Where this package is, with the sources or with what was built of them. */
const isSource = import.meta.url.endsWith('.ts');
const code = fileURLToPath(new URL('../..', import.meta.url));
const extension = isSource ? '.ts' : '.js';

/** Loaded when they are used, from a folder beside the bundle: they have native parts, or are for other runners. */
const EXTERNAL = ['koffi', '@swc/wasm-typescript'];

/** For packages in CommonJS that end up in a module. */
const REQUIRE =
  "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);";

/**
 * One module of the application and our runner for `target`, with everything
 * they import; types are stripped, so it may be TypeScript.
 *
 * @throws CommandError without esbuild, or with its complaints about the application
 */
export async function bundle(app: string, name: string, target: 'unix' | 'xen'): Promise<Uint8Array> {
  if (!existsSync(app)) throw new CommandError(`There is no application at ${app}.`);
  const esbuild = await loadEsbuild();
  const runner = join(code, 'cli/unikernel', `${target}${extension}`);
  const entry = [
    `import application from ${JSON.stringify(resolve(app))};`,
    `import { boot } from ${JSON.stringify(runner)};`,
    `await boot(application, ${JSON.stringify(name)});`,
  ];
  try {
    const result = await esbuild.build({
      stdin: { contents: entry.join('\n'), resolveDir: dirname(resolve(app)) },
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      banner: { js: REQUIRE },
      external: EXTERNAL,
      alias: entryPoints(),
      logLevel: 'silent',
    });
    return result.outputFiles[0]!.contents;
  } catch (error) {
    if (!(error instanceof Error && 'errors' in error)) throw error;
    throw new CommandError(`${app} cannot be bundled.\n${error.message}`);
  }
}

async function loadEsbuild(): Promise<typeof import('esbuild')> {
  try {
    return await import('esbuild');
  } catch (cause) {
    throw new CommandError(
      'To build a unikernel, the application is put into one file with esbuild, which is not installed: npm install --save-dev esbuild',
      { cause },
    );
  }
}

/** The package's own entry points: what the application imports is the very code of the runner. */
function entryPoints(): Record<string, string> {
  const { name, exports } = createRequire(import.meta.url)('../../../package.json') as {
    name: string;
    exports: Record<string, string | { default: string }>;
  };
  const entries: [string, string][] = [];
  for (const [key, value] of Object.entries(exports)) {
    if (typeof value === 'string') continue;
    const built = value.default.replace(/^\.\/dist\//, '');
    entries.push([name + key.slice(1), join(code, isSource ? built.replace(/\.js$/, '.ts') : built)]);
  }
  return Object.fromEntries(entries);
}
