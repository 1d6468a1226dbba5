import { NetError, type NetErrorCode } from '../errors.ts';
import type { IpErrorKind } from '../ip.ts';

/**
 * What a connected socket is told about an error on the way (RFC 1122 §4.1.3.3:
 * every ICMP error is passed up), in the codes of Linux's `icmp_err_convert`.
 * `packet-too-big` is the network layer's affair: it fragments.
 */
export function codeOf(kind: IpErrorKind): NetErrorCode | null {
  switch (kind) {
    case 'port-unreachable':
    case 'protocol-unreachable':
      return 'ECONNREFUSED';
    case 'net-unreachable':
      return 'ENETUNREACH';
    case 'parameter-problem':
      return 'EPROTO';
    case 'packet-too-big':
      return null;
    case 'host-unreachable':
    case 'source-route-failed':
    case 'prohibited':
    case 'time-exceeded':
    case 'reassembly-time-exceeded':
    case 'neighbour-unreachable':
      return 'EHOSTUNREACH';
  }
}

/** `error` of a layer below or of the resolver, in the words of the call that met it. */
export function inCall(error: unknown, syscall: string, address: string, port?: number): unknown {
  if (!(error instanceof NetError) || error.syscall === syscall) return error;
  return new NetError(error.code, {
    syscall,
    address,
    ...(port === undefined ? {} : { port }),
    cause: error,
  });
}

/** Throws `EINVAL` unless `port` is an integer in `lowest..65535`. */
export function checkPort(port: number, lowest: 0 | 1, syscall: string): void {
  if (!Number.isInteger(port) || port < lowest || port > 65_535) {
    throw new NetError('EINVAL', { syscall, reason: `port ${port} is not within ${lowest}..65535` });
  }
}
