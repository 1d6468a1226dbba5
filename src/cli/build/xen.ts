import { existsSync, lstatSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { XenBuildOptions } from '../build-arguments.ts';
import { CommandError } from '../errors.ts';
import { bundle } from './bundle.ts';
import { fileEntry, koffiFiles, nodeFiles } from './closure.ts';
import { type ArchiveEntry, archive } from './cpio.ts';
import { type DomainDescription, libvirtDomain, xlConfiguration } from './domain.ts';
import { findKernel, type Kernel, XEN_MODULES } from './kernel.ts';

/** `/init`: the kernel's first process is Node itself. */
const INIT = `#!/bin/node
import('/app/main.mjs');
`;

/** What the kernel starts when the domain is asked to shut down (`xl shutdown`). */
const POWEROFF = `#!/bin/node
process.kill(1, 'SIGTERM');
`;

/**
 * A bootable image in `out`: the distribution's kernel, an initramfs with Node
 * and the application and nothing else, and what `xl` and libvirt start it by.
 *
 * @returns paths of what was made
 */
export async function buildXen(options: XenBuildOptions): Promise<string[]> {
  const { app, name, words, memoryMib, vif } = options;
  const main = await bundle(app, name, 'xen');
  const kernel = findKernel(options.kernel, options.modules);
  const out = resolve(options.out);
  mkdirSync(out, { recursive: true });
  const domain: DomainDescription = {
    name,
    kernel: join(out, 'vmlinuz'),
    ramdisk: join(out, `${name}.cpio.gz`),
    memoryMib,
    vif,
    words,
  };
  const image = archive([...entries(main, options), ...modules(kernel)]);
  writeFileSync(domain.kernel, kernel.image);
  writeFileSync(domain.ramdisk, gzipSync(Buffer.concat(image), { level: 6 }));
  const files = [
    [join(out, `${name}.xl`), xlConfiguration(domain)],
    [join(out, `${name}.xml`), libvirtDomain(domain)],
  ] as const;
  for (const [path, text] of files) writeFileSync(path, text);
  return [domain.kernel, domain.ramdisk, ...files.map(([path]) => path)];
}

function* entries(main: Uint8Array, { include }: XenBuildOptions): Generator<ArchiveEntry> {
  const koffi = koffiFiles('app/node_modules');
  yield { path: 'init', kind: 'file', data: Buffer.from(INIT), executable: true };
  yield { path: 'sbin/poweroff', kind: 'file', data: Buffer.from(POWEROFF), executable: true };
  for (const folder of ['proc', 'sys', 'dev', 'tmp']) yield { path: folder, kind: 'folder' };
  yield { path: 'app/main.mjs', kind: 'file', data: main };
  yield* koffi;
  yield* nodeFiles(koffi);
  for (const { source, target } of include) yield* included(source, target.replace(/^\/+|\/+$/g, ''));
}

function modules(kernel: Kernel): ArchiveEntry[] {
  return XEN_MODULES.flatMap((name, index) => {
    const data = kernel.module(name);
    // Loaded in the order of their names.
    return data === null ? [] : [{ path: `lib/modules/${index}-${name}.ko`, kind: 'file' as const, data }];
  });
}

function* included(source: string, target: string): Generator<ArchiveEntry> {
  if (!existsSync(source)) throw new CommandError(`There is no ${source} to include.`);
  const status = lstatSync(source);
  if (status.isSymbolicLink()) {
    yield { path: target, kind: 'link', target: readlinkSync(source) };
  } else if (status.isDirectory()) {
    yield { path: target, kind: 'folder' };
    for (const name of readdirSync(source)) yield* included(join(source, name), join(target, name));
  } else {
    yield fileEntry(source, target, (status.mode & 0o111) !== 0);
  }
}
