/**
 * A machine with Xen on it, made from Debian's packages and started under QEMU
 * in software: no KVM, nothing of Xen installed. Linux runs as dom0 from memory
 * and powers off when its script is done.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { buildSync } from 'esbuild';
import { koffiFiles } from '../../dist/cli/build/closure.js';
import { archive } from '../../dist/cli/build/cpio.js';

const here = dirname(fileURLToPath(import.meta.url));
const project = join(here, '../..');
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

/** Drivers and what they need, in the order in which they can be loaded. */
export const MODULES = [
  'xen-evtchn',
  'xen-gntdev',
  'xen-gntalloc',
  'xen-privcmd',
  'xenfs',
  'tun',
  'llc',
  'stp',
  'bridge',
  'xen-netback',
  'xen-netfront',
];

/** Programs of this machine that the tests run in dom0, with their libraries. */
const PROGRAMS = ['curl', 'ethtool', 'ip', 'ping'];

const XEN_PROGRAMS = ['xenstored', 'xl', 'xenconsoled', 'xenconsole', 'xen-init-dom0', 'lsevtchn'];

/** Why there can be no lab here, or null. */
export function missing() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'it needs Linux on x86-64';
  for (const [tool, name] of [
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['apt-get', 'apt'],
    ['dpkg-deb', 'dpkg'],
  ]) {
    if (which(tool) === null) return `there is no ${tool} (package ${name})`;
  }
  if (!existsSync('/bin/busybox')) return 'there is no /bin/busybox (package busybox-static)';
  for (const tool of PROGRAMS) if (which(tool) === null) return `there is no ${tool}`;
  return null;
}

function which(program) {
  for (const folder of process.env.PATH.split(':')) {
    const path = join(folder, program);
    if (existsSync(path)) return path;
  }
  return null;
}

function output(command, ...args) {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function newestXen() {
  const names = output('apt-cache', 'pkgnames', 'xen-hypervisor-').split('\n');
  const versions = names.flatMap((name) => /^xen-hypervisor-(\d+\.\d+)-amd64$/.exec(name)?.[1] ?? []);
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/** The packages of Xen and of the kernel, unpacked in `folder`, which is made once. */
export function unpack(folder) {
  const root = join(folder, 'packages');
  if (existsSync(root)) return root;
  const downloads = join(folder, 'downloads');
  mkdirSync(downloads, { recursive: true });
  let version = newestXen();
  if (version === undefined) {
    output('apt-get', '-qq', 'update');
    version = newestXen();
  }
  if (version === undefined) throw new Error('apt knows no package xen-hypervisor-*-amd64');
  const kernel = /Depends: (linux-image-\S+)/.exec(output('apt-cache', 'depends', 'linux-image-amd64'))?.[1];
  const packages = [
    kernel,
    `xen-hypervisor-${version}-amd64`,
    `xen-utils-${version}`,
    `libxenmisc${version}`,
    'xenstore-utils',
    'libyajl2',
    ...[
      'toolcore1',
      'toollog1',
      'call1',
      'devicemodel1',
      'evtchn1',
      'foreignmemory1',
      'gnttab1',
      'hypfs1',
    ].map((name) => `libxen${name}`),
    'libxenstore4',
  ];
  execFileSync('apt-get', ['-qq', 'download', ...packages], {
    cwd: downloads,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  // Under its own name only when it is complete.
  rmSync(`${root}.part`, { recursive: true, force: true });
  for (const name of readdirSync(downloads)) {
    execFileSync('dpkg-deb', ['-x', join(downloads, name), `${root}.part`]);
  }
  const hypervisor = readdirSync(join(`${root}.part`, 'boot')).find((name) => /^xen-.*\.gz$/.test(name));
  // QEMU's multiboot loader takes the plain ELF file.
  writeFileSync(
    join(`${root}.part`, 'boot/xen'),
    gunzipSync(readFileSync(join(`${root}.part`, 'boot', hypervisor))),
  );
  renameSync(`${root}.part`, root);
  return root;
}

export function kernelOf(packages) {
  return join(
    packages,
    'boot',
    readdirSync(join(packages, 'boot')).find((name) => name.startsWith('vmlinuz-')),
  );
}

export function modulesOf(packages) {
  const folder = join(packages, 'lib/modules');
  return join(folder, readdirSync(folder)[0]);
}

/** Entries of an archive for all of `folder`, under `target`. */
export function* tree(folder, target) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const status = lstatSync(path);
    const entry = join(target, name);
    if (status.isDirectory()) yield* tree(path, entry);
    else if (status.isSymbolicLink()) yield { path: entry, kind: 'link', target: readlinkSync(path) };
    else yield file(path, entry);
  }
}

function file(source, path) {
  return {
    path,
    kind: 'file',
    data: readFileSync(source),
    executable: (lstatSync(realpathSync(source)).mode & 0o111) !== 0,
  };
}

/** dom0's initramfs; `extra` are more entries, such as what is to be tested. */
export function* dom0(packages, extra = []) {
  yield file(join(here, 'dom0/init'), 'init');
  for (const folder of [
    'proc',
    'sys',
    'dev',
    'tmp',
    'run/xen',
    'var/lib/xen',
    'var/lib/xenstored',
    'var/log/xen',
    'run/lock',
    'etc',
  ]) {
    yield { path: folder, kind: 'folder' };
  }
  yield { path: 'var/run', kind: 'link', target: '../run' };
  yield { path: 'var/lock', kind: 'link', target: '../run/lock' };
  yield file(join(here, 'dom0/vif-lab'), 'etc/xen/scripts/vif-lab');
  yield { path: 'lib/x86_64-linux-gnu', kind: 'link', target: `../${LIBRARIES}` };
  yield { path: 'etc/passwd', kind: 'file', data: Buffer.from('root:x:0:0::/:/bin/sh\n') };
  yield { path: 'etc/group', kind: 'file', data: Buffer.from('root:x:0:\n') };

  const taken = new Set();
  const programs = [...PROGRAMS.map((name) => realpathSync(which(name))), process.execPath];
  const xen = join(
    packages,
    'usr/lib',
    readdirSync(join(packages, 'usr/lib')).find((name) => /^xen-\d/.test(name)),
  );
  yield file('/bin/busybox', 'bin/busybox');
  for (const program of programs) {
    const path = `usr/bin/${program === process.execPath ? 'node' : basename(program)}`;
    taken.add(basename(path));
    yield file(program, path);
  }
  for (const name of XEN_PROGRAMS) yield file(join(xen, 'bin', name), `usr/sbin/${name}`);
  yield file(join(packages, 'usr/bin/xenstore-read'), 'usr/bin/xenstore');
  for (const name of ['chmod', 'exists', 'list', 'ls', 'read', 'rm', 'watch', 'write']) {
    yield { path: `usr/bin/xenstore-${name}`, kind: 'link', target: 'xenstore' };
  }
  for (const applet of output('/bin/busybox', '--list').split('\n')) {
    if (applet !== '' && applet !== 'busybox' && !taken.has(applet)) {
      yield { path: `bin/${applet}`, kind: 'link', target: 'busybox' };
    }
  }
  const own = join(packages, LIBRARIES);
  for (const entry of tree(own, LIBRARIES)) {
    if (/^lib(xen|xl|yajl)/.test(basename(entry.path))) yield entry;
  }
  const koffi = join(project, 'node_modules/@koromix/koffi-linux-x64/linux_x64/koffi.node');
  const binaries = [...programs, koffi, ...XEN_PROGRAMS.map((name) => join(xen, 'bin', name))];
  for (const library of libraries(binaries, own)) {
    const folder = basename(library).startsWith('ld-linux') ? 'lib64' : LIBRARIES;
    yield file(library, join(folder, basename(library)));
  }
  const modules = new Map();
  for (const entry of tree(modulesOf(packages), '')) {
    modules.set(basename(entry.path), entry);
  }
  for (const name of MODULES) {
    const entry = modules.get(`${name}.ko`);
    yield { ...entry, path: `lib/modules/${name}.ko` };
  }
  yield* koffiFiles('test/node_modules');
  yield* bundles();
  yield* extra;
}

/** The scripts of dom0/, each with all that it imports in one file: reading hundreds would take long here. */
function* bundles() {
  const { outputFiles } = buildSync({
    entryPoints: [
      ...['back', 'command', 'front', 'peer', 'primitives', 'unikernel'].map((name) => ({
        in: join(here, `dom0/${name}.mjs`),
        out: name,
      })),
      { in: join(project, 'dist/cli/main.js'), out: 'mirage-net' },
      { in: join(project, 'examples/web-server.ts'), out: 'web-server' },
    ],
    bundle: true,
    write: false,
    outdir: '/test',
    outExtension: { '.js': '.mjs' },
    format: 'esm',
    platform: 'node',
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
    },
    external: ['koffi', '@swc/wasm-typescript'],
    alias: Object.fromEntries(
      [
        ['mirage-net-direct/net', 'net/index.js'],
        ['mirage-net-direct/xen', 'netif/xen/index.js'],
        ['mirage-net-direct', 'index.js'],
      ].map(([name, path]) => [name, join(project, 'dist', path)]),
    ),
  });
  for (const { path, contents } of outputFiles) {
    yield { path: path.slice(1), kind: 'file', data: contents };
  }
}

/** Shared libraries that `binaries` need, those in `own` left out. */
function* libraries(binaries, own) {
  const seen = new Set();
  for (const binary of binaries) {
    const text = execFileSync('ldd', [binary], {
      encoding: 'utf8',
      env: { ...process.env, LD_LIBRARY_PATH: own },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    for (const [, path] of text.matchAll(/^\t(?:.* => )?(\/\S+)/gm)) {
      if (path.startsWith(own) || seen.has(basename(path))) continue;
      seen.add(basename(path));
      yield path;
    }
  }
}

export function write(entries, path) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.concat(archive(entries)));
}

/**
 * Boots the machine, hands each line of the console to `line`, and waits until
 * it powers off. `parameters` of Linux have no commas: to QEMU they separate files.
 *
 * @returns seconds that it ran, and whether it powered off by itself
 */
export async function boot({
  packages,
  initramfs,
  memoryMib = 2048,
  dom0Mib = 1024,
  log,
  seconds,
  parameters = '',
  line,
}) {
  const begin = Date.now();
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-accel',
        'tcg,thread=single',
        '-cpu',
        'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt',
        '-smp',
        '1',
        '-m',
        `${memoryMib}`,
      ],
      ...[
        '-nodefaults',
        '-vga',
        'none',
        '-display',
        'none',
        '-no-reboot',
        '-serial',
        'stdio',
        '-monitor',
        'none',
      ],
      ...['-kernel', join(packages, 'boot/xen')],
      // Under software emulation the FPU has to be switched eagerly.
      ...[
        '-append',
        `console=com1 com1=115200,8n1 dom0_mem=${dom0Mib}M,max:${dom0Mib}M dom0_max_vcpus=1 conring_size=4M spec-ctrl=eager-fpu=1`,
      ],
      ...['-initrd', `${kernelOf(packages)} console=hvc0 quiet ${parameters},${initramfs}`],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const timer = setTimeout(() => qemu.kill('SIGKILL'), seconds * 1000);
  const chunks = [];
  let rest = '';
  const decoder = new TextDecoder();
  qemu.stdout.on('data', (chunk) => {
    chunks.push(chunk);
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r*\n/);
    rest = lines.pop();
    for (const text of lines) line(text);
  });
  const code = await new Promise((resolve, reject) => {
    qemu.on('close', resolve);
    qemu.on('error', reject);
  });
  clearTimeout(timer);
  writeFileSync(log, Buffer.concat(chunks));
  return { seconds: (Date.now() - begin) / 1000, ended: code === 0 };
}
