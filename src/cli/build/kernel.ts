import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { CommandError } from '../errors.ts';

/** A kernel of the distribution. */
export interface Kernel {
  /** The bootable file. */
  readonly image: Uint8Array;
  readonly version: string;
  /** A driver, or null where it is a part of the kernel itself. */
  module(name: string): Uint8Array | null;
}

/** Package that depends on the newest kernel, by architecture. */
const PACKAGES: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'linux-image-amd64',
  arm64: 'linux-image-arm64',
};

/**
 * The kernel at `image` with the modules below `modules`; without them the
 * newest one in /boot, or, where there is none, the one of the distribution's
 * package, which is downloaded with apt-get and not installed.
 */
export function findKernel(image: string | undefined, modules: string | undefined): Kernel {
  if (image !== undefined) {
    const version = basename(image).replace(/^vmlinuz-/, '');
    return openKernel(image, modules ?? `/lib/modules/${version}`);
  }
  const installed = newestKernel('/boot');
  if (installed !== null) return openKernel(`/boot/vmlinuz-${installed}`, `/lib/modules/${installed}`);
  return downloadKernel();
}

function newestKernel(folder: string): string | null {
  if (!existsSync(folder)) return null;
  const versions = readdirSync(folder).flatMap((name) => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? []);
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1) ?? null;
}

function downloadKernel(): Kernel {
  const meta = PACKAGES[process.arch];
  const folder = mkdtempSync(join(tmpdir(), 'mirage-net-kernel-'));
  try {
    if (meta === undefined) throw new Error(`no package is known for ${process.arch}`);
    const run = (command: string, ...args: string[]): string =>
      execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const name = /Depends: (linux-image-\S+)/.exec(run('apt-cache', 'depends', meta))?.[1];
    if (name === undefined) throw new Error(`apt does not know ${meta}`);
    run('apt-get', '-qq', 'download', name);
    run('dpkg-deb', '-x', readdirSync(folder).find((file) => file.endsWith('.deb'))!, '.');
    const version = newestKernel(join(folder, 'boot'))!;
    return openKernel(join(folder, 'boot', `vmlinuz-${version}`), join(folder, 'lib/modules', version));
  } catch (cause) {
    throw new CommandError(
      'There is no kernel in /boot, and none could be downloaded with apt-get; give --kernel FILE --modules FOLDER.',
      { cause },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Reads everything that may be asked for, so that the files may go. */
function openKernel(path: string, modules: string): Kernel {
  if (!existsSync(path)) throw new CommandError(`There is no kernel at ${path}.`);
  if (!existsSync(modules)) {
    throw new CommandError(`There are no modules of that kernel at ${modules}; give --modules FOLDER.`);
  }
  const builtin = readFileSync(join(modules, 'modules.builtin'), 'utf8');
  const names = readdirSync(modules, { recursive: true, encoding: 'utf8' });
  const found = new Map<string, Uint8Array | null>();
  for (const name of XEN_MODULES) {
    const file = names.find((each) => basename(each).startsWith(`${name}.ko`));
    if (file !== undefined) found.set(name, readModule(join(modules, file)));
    else if (builtin.includes(`/${name}.ko`)) found.set(name, null);
    else throw new CommandError(`The kernel ${path} has no ${name}, neither built in nor in ${modules}.`);
  }
  return {
    image: readFileSync(path),
    version: basename(path).replace(/^vmlinuz-/, ''),
    module: (name) => found.get(name) ?? null,
  };
}

/** What a domain needs to reach Xen: event channels, granting pages, using others' pages. */
export const XEN_MODULES = ['xen-evtchn', 'xen-gntalloc', 'xen-gntdev'];

/** Distributions compress them; a kernel without its userland takes them plain. */
function readModule(path: string): Uint8Array {
  const tool = path.endsWith('.xz')
    ? 'xz'
    : path.endsWith('.zst')
      ? 'zstd'
      : path.endsWith('.gz')
        ? 'gzip'
        : null;
  if (tool === null) return readFileSync(path);
  return execFileSync(tool, ['-dc', path], { maxBuffer: 64 * 1024 * 1024 });
}
