import { Errno } from '../../../native/index.ts';

/** What to do when a device of `module` cannot be opened. */
export function deviceReasons(module: string): Partial<Record<number, string>> {
  const missing = `there is none here: this needs a Linux that runs on Xen, with the module ${module} (modprobe ${module})`;
  return {
    [Errno.ENOENT]: missing,
    [Errno.ENODEV]: missing,
    [Errno.ENXIO]: missing,
    [Errno.EACCES]: 'access to the hypervisor needs root',
    [Errno.EPERM]: 'access to the hypervisor needs root',
  };
}
