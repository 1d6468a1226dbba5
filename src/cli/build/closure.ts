import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { CommandError } from '../errors.ts';
import type { ArchiveEntry } from './cpio.ts';

/** A file of this machine. */
export type SourceEntry = Extract<ArchiveEntry, { kind: 'file' }> & { readonly source: string };

/** The package koffi, as far as it is needed on this machine's kind, below `folder`. */
export function koffiFiles(folder: string): SourceEntry[] {
  const require = createRequire(import.meta.url);
  // What a fresh process loads is what is needed: it chooses the binary for this platform.
  const list = execFileSync(
    process.execPath,
    [
      '-e',
      'require(process.argv[1]); console.log(JSON.stringify(Object.keys(require.cache)))',
      require.resolve('koffi'),
    ],
    { encoding: 'utf8' },
  );
  const modules = new Set<string>();
  const entries: SourceEntry[] = [];
  for (const path of JSON.parse(list) as string[]) {
    const [, root, name] = /^(.*\/node_modules\/)((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
    if (root === undefined || name === undefined) continue;
    if (!modules.has(name)) {
      modules.add(name);
      entries.push(fileEntry(join(root, name, 'package.json'), join(folder, name, 'package.json')));
    }
    entries.push(fileEntry(path, join(folder, relative(root, path))));
  }
  return entries;
}

/** Paths of the shared libraries that the program or library at `path` needs, its loader included. */
export function librariesOf(path: string): string[] {
  let text: string;
  try {
    text = execFileSync('ldd', [path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (cause) {
    throw new CommandError(`ldd cannot tell which libraries ${path} needs.`, { cause });
  }
  if (text.includes('=> not found'))
    throw new CommandError(`Libraries that ${path} needs are missing:\n${text}`);
  return [...text.matchAll(/^\t(?:.* => )?(\/\S+)/gm)].map(([, library]) => library!);
}

/** `path` in the archive is where the loader looks for it: where it is on this machine. */
export function fileEntry(source: string, path: string, executable = false): SourceEntry {
  return { path: path.replace(/^\/+/, ''), kind: 'file', data: readFileSync(source), executable, source };
}

/** Node itself as `/bin/node`, and the libraries that it and the add-ons among `files` need. */
export function nodeFiles(files: readonly SourceEntry[]): SourceEntry[] {
  const node = realpathSync(process.execPath);
  const addOns = files.flatMap((file) => (file.path.endsWith('.node') ? [file.source] : []));
  const libraries = new Set([node, ...addOns].flatMap(librariesOf));
  return [
    fileEntry(node, 'bin/node', true),
    ...[...libraries].map((library) => fileEntry(library, library, true)),
  ];
}
