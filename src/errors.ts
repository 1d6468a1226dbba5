/** The codes an application meets, the same as Node's. */
export type NetErrorCode =
  | 'EACCES'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'EAGAIN'
  | 'EBADF'
  | 'EBADFD'
  | 'EBUSY'
  | 'ECONNABORTED'
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'EEXIST'
  | 'EFAULT'
  | 'EHOSTUNREACH'
  | 'EINTR'
  | 'EINVAL'
  | 'EIO'
  | 'EISCONN'
  | 'EMFILE'
  | 'EMSGSIZE'
  | 'ENETDOWN'
  | 'ENETUNREACH'
  | 'ENFILE'
  | 'ENOBUFS'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'ENOTCONN'
  | 'ENOTFOUND'
  | 'ENOTTY'
  | 'ENXIO'
  | 'EOPNOTSUPP'
  | 'EPERM'
  | 'EPIPE'
  | 'EPROTO'
  | 'ETIMEDOUT';

export interface NetErrorDetails {
  /** What was asked for: `connect`, `listen`, `read`, `write`, `send`, `open`, … */
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;
  /** What went wrong in words, where the code alone does not tell. */
  readonly reason?: string;
  readonly cause?: unknown;
}

/**
 * An error with Node's `code`, and `syscall`, `address`, `port` where they are
 * known. The message reads as Node's: `connect ECONNREFUSED 10.0.0.2:80`.
 */
export class NetError extends Error {
  readonly code: NetErrorCode;
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;

  constructor(code: NetErrorCode, details: NetErrorDetails = {}) {
    const { syscall, address, port, reason, cause } = details;
    const where = address === undefined ? '' : ` ${endpointText(address, port)}`;
    const why = reason === undefined ? '' : `: ${reason}`;
    super(
      `${syscall === undefined ? '' : `${syscall} `}${code}${where}${why}`,
      cause === undefined ? undefined : { cause },
    );
    this.name = 'NetError';
    this.code = code;
    if (syscall !== undefined) this.syscall = syscall;
    if (address !== undefined) this.address = address;
    if (port !== undefined) this.port = port;
  }
}

function endpointText(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
