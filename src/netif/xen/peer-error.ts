import { NetError } from '../../errors.ts';

/**
 * The other end does what no correct one does: the connection is of no use any
 * more. Thrown within the netif only; it ends the connection.
 */
export class PeerError extends NetError {
  constructor(reason: string) {
    super('EPROTO', { syscall: 'ring', reason });
  }
}
