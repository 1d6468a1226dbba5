import type { IpErrorKind } from '../ip.ts';
import type { Connection } from './connection.ts';
import { before } from './sequence.ts';
import * as states from './state.ts';

/**
 * An error report about a segment of ours (RFC 1122 §4.2.3.9, RFC 5461, RFC
 * 5927): true if it fits what is in flight. Only while nobody has answered yet
 * can it end the connection.
 */
export function takeIpError(connection: Connection, kind: IpErrorKind, sequence: number): boolean {
  // Nothing of a parked connection is in flight.
  if (connection.isParked) return false;
  const { sender, state, host } = connection;
  // RFC 5927 §4.1: SND.UNA =< SEG.SEQ < SND.NXT.
  if (before(sequence, sender.una) || !before(sequence, sender.next)) return false;
  switch (kind) {
    case 'packet-too-big':
      // The path has the new MTU when this turn is over.
      host.schedule(connection);
      break;
    case 'port-unreachable':
    case 'protocol-unreachable':
      // Hard by RFC 1122 §4.2.3.9, but only while nobody has answered (RFC 5927 §5.2).
      if (state === states.SYN_SENT || state === states.SYN_RECEIVED) connection.fail('ECONNREFUSED');
      break;
    case 'neighbour-unreachable':
      // Whoever connects is told; a half-open connection of a listener waits for its SYN-ACK's retries.
      if (state === states.SYN_SENT) connection.fail('EHOSTUNREACH');
      else connection.softError = 'EHOSTUNREACH';
      break;
    case 'net-unreachable':
      connection.softError = 'ENETUNREACH';
      break;
    case 'host-unreachable':
    case 'source-route-failed':
    case 'prohibited':
    case 'time-exceeded':
      connection.softError = 'EHOSTUNREACH';
      break;
    default:
  }
  return true;
}
