import { Errno, systemError } from './errno.ts';
import { cLibrary, libc } from './libc.ts';

/*
 * What a process does once: as the first one of a machine (mounting, loading
 * drivers, switching off), or before it becomes another (giving up privileges,
 * exec). Linux on x86-64 and Arm64.
 */

const FINIT_MODULE: Partial<Record<NodeJS.Architecture, number>> = { x64: 313, arm64: 273 };
const RB_POWER_OFF = 0x4321fedc;

/** Mounts a file system that needs no device, such as `proc`. A folder that has it already is left as it is. */
export function mount(type: string, folder: string): void {
  const call = cLibrary().func('mount', 'int', ['str', 'str', 'str', 'ulong', 'void *']);
  if (call(type, folder, type, 0, null) < 0 && libc().errno() !== Errno.EBUSY) {
    throw systemError(libc().errno(), `mount ${type} ${folder}`);
  }
}

/** Loads the kernel module that is open as `fd`; one that is loaded already is left as it is. */
export function loadModule(fd: number, name: string): void {
  const number = FINIT_MODULE[process.arch];
  if (number === undefined) throw systemError(Errno.ENOSYS, `finit_module ${name}`);
  const call = cLibrary().func('syscall', 'long', ['long', 'int', 'str', 'int']);
  if (call(number, fd, '', 0) < 0 && libc().errno() !== Errno.EEXIST) {
    throw systemError(libc().errno(), `finit_module ${name}`);
  }
}

/** Switches the machine off. Nothing is written back first. */
export function powerOff(): never {
  cLibrary().func('reboot', 'int', ['int'])(RB_POWER_OFF);
  throw systemError(libc().errno(), 'reboot');
}

const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAPBSET_DROP = 24;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const CAPABILITY_VERSION_3 = 0x20080522;

/**
 * Gives up everything that this thread may do beyond what an ordinary user may,
 * for good: supplementary groups, group, user, all capabilities (those that an
 * exec could give included), and with `no_new_privs` set-uid programs too.
 * A program that this thread starts, or becomes, has none of it.
 *
 * @throws NetError `EPERM` for another user than the present one without root
 */
export function dropPrivileges(user: number, group: number): void {
  const c = cLibrary();
  const prctl = c.func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
  const setgroups = c.func('setgroups', 'int', ['size_t', 'void *']);
  const setresgid = c.func('setresgid', 'int', ['uint32_t', 'uint32_t', 'uint32_t']);
  const setresuid = c.func('setresuid', 'int', ['uint32_t', 'uint32_t', 'uint32_t']);
  const capset = c.func('capset', 'int', ['void *', 'void *']);
  const check = (result: number, name: string): void => {
    if (result < 0) throw systemError(libc().errno(), name);
  };
  const isRoot = process.geteuid?.() === 0;
  // The kernel answers EINVAL beyond its last capability.
  for (let capability = 0; isRoot && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) === 0; capability++);
  check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 'prctl PR_CAP_AMBIENT_CLEAR_ALL');
  if (isRoot) check(setgroups(0, null), 'setgroups');
  check(setresgid(group, group, group), 'setresgid');
  check(setresuid(user, user, user), 'setresuid');
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION_3);
  check(capset(header, Buffer.alloc(24)), 'capset');
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'prctl PR_SET_NO_NEW_PRIVS');
}

const F_SETFD = 2;

/** Lets `fd` stay open in the program that this process becomes. */
export function keepOnExec(fd: number): void {
  if (libc().fcntl(fd, F_SETFD, 0) < 0) throw systemError(libc().errno(), `fcntl ${fd}`);
}

/**
 * Becomes another program, with the privileges of the calling thread. It has
 * the standard streams, and what {@link keepOnExec} kept. Returns only by throwing.
 */
export function become(path: string, argv: readonly string[], environment: NodeJS.ProcessEnv): never {
  const call = cLibrary().func('execve', 'int', ['str', 'char **', 'char **']);
  // Node marks those that it was started with (`uv_disable_stdio_inheritance`).
  for (const fd of [0, 1, 2]) keepOnExec(fd);
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  call(path, [...argv, null], [...variables, null]);
  throw systemError(libc().errno(), `execve ${path}`);
}
