import { NetError, type NetErrorCode } from '../errors.ts';

/** Error numbers of Linux (asm-generic), by name: the ones that devices and network ioctls answer with. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ENOSPC: 28,
  EPIPE: 32,
  ENOSYS: 38,
  EBADFD: 77,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENOBUFS: 105,
} as const;

/** What each number means to the person who reads it; callers that know more say more. */
const MEANING: Record<keyof typeof Errno, string> = {
  EPERM: 'not permitted: run as root or with the capability that this needs',
  ENOENT: 'no such file or device',
  EINTR: 'interrupted by a signal',
  EIO: 'the device cannot take or give data: is the interface up?',
  ENXIO: 'no such device or address',
  EBADF: 'not an open file descriptor',
  EAGAIN: 'nothing is ready now',
  ENOMEM: 'the kernel is out of memory',
  EACCES: 'access denied: check the permissions of the file',
  EFAULT: 'bad address',
  EBUSY: 'in use by another process or descriptor',
  EEXIST: 'exists already',
  ENODEV: 'no such device',
  EINVAL: 'the kernel refuses an argument',
  ENFILE: 'the system has too many open files',
  EMFILE: 'this process has too many open files: raise ulimit -n',
  ENOTTY: 'the descriptor is of a kind that does not know this request',
  ENOSPC: 'no space left',
  EPIPE: 'the other end is closed',
  ENOSYS: 'this kernel does not have the system call',
  EBADFD: 'the device behind the descriptor is gone',
  EMSGSIZE: 'too long for the device',
  EOPNOTSUPP: 'not supported by this kernel or device',
  EADDRNOTAVAIL: 'the address is not available',
  ENETDOWN: 'the interface is down',
  ENOBUFS: 'the kernel has no buffer space',
};

const NAMES = new Map<number, keyof typeof Errno>(
  Object.entries(Errno).map(([name, number]) => [number, name as keyof typeof Errno]),
);

/** `EBUSY` for 16; `errno 123` for a number without a name here. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/**
 * The error for a failed system call.
 *
 * @param errno positive error number of Linux
 * @param syscall as a person would look it up: `open`, `ioctl TUNSETIFF`
 * @param reason what to do about it, where the caller knows better than the number's own meaning
 */
export function systemError(errno: number, syscall: string, reason?: string): NetError {
  const name = NAMES.get(errno);
  return new NetError((name ?? 'EINVAL') as NetErrorCode, {
    syscall,
    reason: reason ?? (name === undefined ? `the kernel answers errno ${errno}` : MEANING[name]),
  });
}
