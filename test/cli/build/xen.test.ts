import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../../src/cli/index.ts';

/** A kernel that is none: what is packed is looked at, not booted. */
function makeKernel(folder: string, modules: readonly string[]): void {
  writeFileSync(join(folder, 'vmlinuz-9.9'), 'a kernel');
  mkdirSync(join(folder, 'modules/kernel/drivers/xen'), { recursive: true });
  writeFileSync(join(folder, 'modules/modules.builtin'), 'kernel/drivers/xen/xen-evtchn.ko\n');
  for (const name of modules) writeFileSync(join(folder, 'modules/kernel/drivers/xen', name), name);
}

function contents(archive: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; at < archive.length; ) {
    const field = (index: number): number =>
      Number.parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [size, nameSize] = [field(6), field(11)];
    const data = (at + 110 + nameSize + 3) & -4;
    files.set(
      archive.toString('utf8', at + 110, at + 110 + nameSize - 1),
      archive.subarray(data, data + size),
    );
    at = (data + size + 3) & -4;
  }
  return files;
}

let folder: string;
let complaint = '';
const io = {
  stdout: { write: () => true },
  stderr: { write: (text: string) => (complaint += text) },
  process,
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mirage-net-xen-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const build = (app: string, ...words: string[]): Promise<number | null> => {
  complaint = '';
  const kernel = ['--kernel', join(folder, 'vmlinuz-9.9'), '--modules', join(folder, 'modules')];
  const out = ['--out', join(folder, 'out'), '--ip', '10.0.0.2/24'];
  return runCommand(['build', app, '--target', 'xen', ...kernel, ...out, ...words], io);
};

describe.skipIf(process.platform !== 'linux')('mirage-net build --target xen', () => {
  it('packs Node, the application and what they need, and nothing else', { timeout: 60_000 }, async () => {
    makeKernel(folder, ['xen-gntalloc.ko', 'xen-gntdev.ko.xz']);
    writeFileSync(
      join(folder, 'modules/kernel/drivers/xen/xen-gntdev.ko.xz'),
      execFileSync('xz', ['-c'], { input: 'plain' }),
    );
    mkdirSync(join(folder, 'public/deep'), { recursive: true });
    writeFileSync(join(folder, 'public/deep/page.html'), 'a page');
    const include = `${join(folder, 'public')}:/srv`;
    const code = await build('examples/web-server.ts', '--include', include, '--', '/srv');
    expect(complaint).toBe('');
    expect(code).toBe(0);
    const files = contents(gunzipSync(readFileSync(join(folder, 'out/web-server.cpio.gz'))));
    const names = [...files.keys()];
    expect(files.get('init')!.toString()).toMatch(/^#!\/bin\/node\n/);
    expect(names.filter((name) => /\/s?bin\/|^s?bin\//.test(name))).toEqual(['sbin/poweroff', 'bin/node']);
    expect(files.get('srv/deep/page.html')!.toString()).toBe('a page');
    // Built in, plain, and unpacked.
    expect(names.filter((name) => name.startsWith('lib/modules/'))).toEqual([
      'lib/modules/1-xen-gntalloc.ko',
      'lib/modules/2-xen-gntdev.ko',
    ]);
    expect(files.get('lib/modules/2-xen-gntdev.ko')!.toString()).toBe('plain');
    // No driver for a network card: the kernel has no interface, whatever Xen offers.
    expect(names.filter((name) => /netfront|busybox|\/sh$/.test(name))).toEqual([]);
    expect(names.filter((name) => name.startsWith('app/') && !name.includes('node_modules'))).toEqual([
      'app/main.mjs',
    ]);
    expect(names.filter((name) => name.endsWith('.node'))).toHaveLength(1);
    expect(readFileSync(join(folder, 'out/vmlinuz'), 'utf8')).toBe('a kernel');
    expect(readFileSync(join(folder, 'out/web-server.xl'), 'utf8')).toContain(
      '-- --netif xen:0 --ip 10.0.0.2/24 -- /srv"',
    );
    // The bundle is one module that needs no file but koffi's.
    const imports = [
      ...files
        .get('app/main.mjs')!
        .toString()
        .matchAll(/^import .* from "(.*)";$/gm),
    ].map(([, name]) => name!);
    expect(imports.filter((name) => !name.startsWith('node:') && name !== 'esbuild')).toEqual([]);
  });

  it('says which driver the kernel lacks', async () => {
    rmSync(join(folder, 'modules'), { recursive: true, force: true });
    makeKernel(folder, ['xen-gntdev.ko']);
    expect(await build('examples/web-server.ts')).toBe(1);
    expect(complaint).toContain('has no xen-gntalloc');
  });

  it('says what is wrong with the application', async () => {
    const app = join(folder, 'broken.ts');
    writeFileSync(app, "import './nothing.js';\nexport default async () => {};\n");
    expect(await build(app)).toBe(1);
    expect(complaint).toContain('./nothing.js');
    expect(await build(join(folder, 'none.ts'))).toBe(1);
    expect(complaint).toContain('There is no application');
  });

  it('says what there is not to include', async () => {
    rmSync(join(folder, 'modules'), { recursive: true, force: true });
    makeKernel(folder, ['xen-gntalloc.ko', 'xen-gntdev.ko']);
    expect(await build('examples/web-server.ts', '--include', join(folder, 'none'))).toBe(1);
    expect(complaint).toContain('to include');
  });
});
