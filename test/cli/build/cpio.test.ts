import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ArchiveEntry, archive } from '../../../src/cli/build/cpio.ts';

const ENTRIES: ArchiveEntry[] = [
  { path: 'init', kind: 'file', data: Buffer.from('#!/bin/node\n'), executable: true },
  { path: 'a/b/c.txt', kind: 'file', data: Buffer.from('12345') },
  { path: 'a/b/empty', kind: 'file', data: Buffer.alloc(0) },
  { path: 'a/d', kind: 'folder' },
  { path: 'bin/sh', kind: 'link', target: '../init' },
];

describe('archive', () => {
  it('makes each folder once, before what lies in it, and is aligned', () => {
    const bytes = Buffer.concat(archive(ENTRIES));
    const names: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      expect(at % 4).toBe(0);
      expect(bytes.toString('latin1', at, at + 6)).toBe('070701');
      const field = (index: number): number =>
        Number.parseInt(bytes.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
      const [size, nameSize] = [field(6), field(11)];
      names.push(bytes.toString('utf8', at + 110, at + 110 + nameSize - 1));
      const data = (at + 110 + nameSize + 3) & -4;
      at = (data + size + 3) & -4;
    }
    expect(names).toEqual([
      'init',
      'a',
      'a/b',
      'a/b/c.txt',
      'a/b/empty',
      'a/d',
      'bin',
      'bin/sh',
      'TRAILER!!!',
    ]);
  });

  it.skipIf(spawnSync('/bin/busybox', ['cpio', '--help']).status !== 0)('is what cpio unpacks', () => {
    const folder = mkdtempSync(join(tmpdir(), 'mirage-net-cpio-'));
    try {
      execFileSync('/bin/busybox', ['cpio', '-id'], {
        cwd: folder,
        input: Buffer.concat(archive(ENTRIES)),
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      expect(readFileSync(join(folder, 'a/b/c.txt'), 'utf8')).toBe('12345');
      expect(statSync(join(folder, 'a/b/empty')).size).toBe(0);
      expect(statSync(join(folder, 'a/d')).isDirectory()).toBe(true);
      expect(statSync(join(folder, 'init')).mode & 0o777).toBe(0o755);
      expect(readlinkSync(join(folder, 'bin/sh'))).toBe('../init');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
