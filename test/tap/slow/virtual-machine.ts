import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the machine needs of the host. */
const TOOLS = ['qemu-system-x86_64', 'busybox', 'cpio', 'apt-get', 'dpkg-deb'];
/** The package whose dependency is the kernel in use: Debian's, Ubuntu's. */
const KERNELS = ['linux-image-cloud-amd64', 'linux-image-virtual'];
/** Those that the kernel has built in are no files. */
const MODULES = [
  ...['failover', 'net_failover', 'virtio_ring', 'virtio', 'virtio_pci_legacy_dev'],
  ...['virtio_pci_modern_dev', 'virtio_pci', 'virtio_net'],
];

/** Why there can be no virtual machine here; null if there can. */
export function cannotEmulate(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'needs Linux on x86-64';
  const path = (process.env.PATH ?? '').split(':');
  const missing = TOOLS.filter((tool) => !path.some((folder) => existsSync(join(folder, tool))));
  return missing.length === 0 ? null : `${missing.join(', ')} not installed`;
}

export interface Kernel {
  readonly image: string;
  readonly modules: readonly string[];
}

/** Downloads the distribution's kernel into `folder` and unpacks it there; nothing is installed. */
export async function unpackKernel(folder: string): Promise<Kernel> {
  for (const name of KERNELS) {
    let depends: string;
    try {
      depends = execFileSync('apt-cache', ['depends', name], { encoding: 'utf8', stdio: 'pipe' });
    } catch {
      continue;
    }
    const wanted = [...depends.matchAll(/Depends: (linux-(?:image|modules)-\d\S*)/g)].map(
      ([, text]) => text!,
    );
    if (wanted.length === 0) continue;
    execFileSync('apt-get', ['download', '-qq', ...wanted], { cwd: folder, stdio: 'pipe' });
    for (const file of await readdir(folder)) {
      if (file.endsWith('.deb')) execFileSync('dpkg-deb', ['-x', file, 'kernel'], { cwd: folder });
    }
    const root = join(folder, 'kernel');
    const files = await readdir(root, { recursive: true });
    const image = files.find((file) => /^boot\/vmlinuz-/.test(file));
    if (image === undefined) throw new Error(`${wanted} has no kernel`);
    const modules = MODULES.map((module) => files.find((file) => file.endsWith(`/${module}.ko`)));
    return {
      image: join(root, image),
      modules: modules.filter((file) => file !== undefined).map((file) => join(root, file)),
    };
  }
  throw new Error(`none of ${KERNELS.join(', ')} is known to apt`);
}

/** An initial file system of busybox and the modules, whose `init` loads these and runs `script`; gives its path. */
export async function buildInitramfs(folder: string, kernel: Kernel, script: string): Promise<string> {
  const root = join(folder, 'root');
  for (const name of ['bin', 'dev', 'proc', 'sys', 'etc', 'lib', 'tmp']) {
    await mkdir(join(root, name), { recursive: true });
  }
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  await copyFile(busybox, join(root, 'bin/busybox'));
  const names: string[] = [];
  for (const file of kernel.modules) {
    const name = file.slice(file.lastIndexOf('/') + 1);
    await copyFile(file, join(root, 'lib', name));
    names.push(name);
  }
  await writeFile(
    join(root, 'lease'),
    `#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router"
for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
echo "lease: $ip/$mask router $router dns $dns domain $domain"
`,
    { mode: 0o755 },
  );
  await writeFile(
    join(root, 'init'),
    `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
# Which needs which differs from one kernel to the next.
for round in 1 2 3; do
  for module in ${names.join(' ')}; do insmod /lib/$module 2>/dev/null; done
done
ip link set lo up
${script}
reboot -f
`,
    { mode: 0o755 },
  );
  const pack = 'find . | cpio -o -H newc 2>/dev/null | gzip -1 > ../initrd';
  execFileSync('sh', ['-c', pack], { cwd: root });
  return join(folder, 'initrd');
}

/** Runs the machine to its end, its network card joined to a UNIX socket; gives what it printed. */
export async function runMachine(
  kernel: Kernel,
  initrd: string,
  socket: string,
  timeoutMs: number,
): Promise<string> {
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--', 'qemu-system-x86_64', '-nodefaults', '-no-user-config'],
      ...['-display', 'none', '-serial', 'stdio', '-m', '256', '-accel', 'tcg', '-no-reboot'],
      ...['-kernel', kernel.image, '-initrd', initrd],
      ...['-append', 'console=ttyS0 quiet panic=-1 ipv6.autoconf=0'],
      ...['-netdev', `stream,id=net0,server=off,addr.type=unix,addr.path=${socket}`],
      ...['-device', 'virtio-net-pci,netdev=net0,mac=02:00:00:00:00:99,romfile='],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let printed = '';
  child.stdout.on('data', (chunk) => {
    printed += chunk;
  });
  child.stderr.on('data', (chunk) => {
    printed += chunk;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  if (code !== 0) throw new Error(`the machine ended with ${signal ?? code}:\n${printed}`);
  return printed;
}
