import { basename, extname } from 'node:path';
import { UsageError } from './errors.ts';
import { parseCount } from './numbers.ts';

interface CommonBuildOptions {
  /** Path of the application's module. */
  readonly app: string;
  /** Of the unikernel, and so of its files. */
  readonly name: string;
  readonly out: string;
  /** Words of the runner, then `--` and those of the application. */
  readonly words: readonly string[];
}

export interface XenBuildOptions extends CommonBuildOptions {
  readonly target: 'xen';
  readonly memoryMib: number;
  /** In the words of xl.cfg. */
  readonly vif: string;
  /** Files and folders of the application: where they are, and where they are to be. */
  readonly include: readonly { readonly source: string; readonly target: string }[];
  readonly kernel?: string;
  readonly modules?: string;
}

export interface UnixBuildOptions extends CommonBuildOptions {
  readonly target: 'unix';
  /** Who it runs as. */
  readonly user: string;
}

export type BuildOptions = XenBuildOptions | UnixBuildOptions;

export const BUILD_OPTIONS = {
  target: { type: 'string' },
  out: { type: 'string', default: '.' },
  name: { type: 'string' },
  include: { type: 'string', multiple: true },
  memory: { type: 'string' },
  vif: { type: 'string' },
  kernel: { type: 'string' },
  modules: { type: 'string' },
  user: { type: 'string' },
} as const;

interface BuildValues {
  readonly target?: string | undefined;
  readonly out: string;
  readonly name?: string | undefined;
  readonly include?: string[] | undefined;
  readonly memory?: string | undefined;
  readonly vif?: string | undefined;
  readonly kernel?: string | undefined;
  readonly modules?: string | undefined;
  readonly user?: string | undefined;
}

const XEN_ONLY = ['include', 'memory', 'vif', 'kernel', 'modules'] as const;

/** What the words of `mirage-net build` ask for, apart from those of the stack. Throws {@link UsageError}. */
export function readBuild(
  values: BuildValues,
  [app, surplus]: readonly string[],
  words: readonly string[],
): BuildOptions {
  if (app === undefined) {
    throw new UsageError('Which application? Give its file: mirage-net build APP.js --target xen …');
  }
  if (surplus !== undefined) {
    throw new UsageError(`"${surplus}" is one word too many: what is for the application comes after --.`);
  }
  const name = values.name ?? basename(app, extname(app));
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw new UsageError(`--name ${name}: letters, digits, and -_. within.`);
  }
  // Neither xl's files nor the kernel's command line have a way to write them.
  const bad = words.find((word) => /['"\n]/.test(word));
  if (bad !== undefined) throw new UsageError(`${bad}: no quotation marks in what is built in.`);
  const common = { app, name, out: values.out, words };
  switch (values.target) {
    case 'xen':
      if (values.user !== undefined)
        throw new UsageError('--user is of --target unix; a domain has no users.');
      return {
        ...common,
        target: 'xen',
        memoryMib: parseCount('memory', values.memory ?? '512', 128, 1_048_576),
        vif: values.vif ?? 'bridge=xenbr0',
        include: (values.include ?? []).map(parseInclude),
        ...(values.kernel !== undefined && { kernel: values.kernel }),
        ...(values.modules !== undefined && { modules: values.modules }),
      };
    case 'unix': {
      const stray = XEN_ONLY.find((option) => values[option] !== undefined);
      if (stray !== undefined) throw new UsageError(`--${stray} is of --target xen.`);
      return { ...common, target: 'unix', user: values.user ?? 'nobody' };
    }
    default:
      throw new UsageError('--target is xen (a domain) or unix (a process).');
  }
}

function parseInclude(text: string): { source: string; target: string } {
  const [, source, target] = /^(.+?)(?::(\/.*))?$/.exec(text) ?? [];
  if (source === undefined) throw new UsageError('--include needs a path, as in --include ./public:/srv.');
  return { source, target: target ?? source.replace(/^(\.\/)+/, '') };
}
