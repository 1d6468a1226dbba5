/** The states of RFC 9293 §3.3.2, ordered so that a comparison answers what most code asks. */
export const CLOSED = 0;
export const LISTEN = 1;
export const SYN_SENT = 2;
export const SYN_RECEIVED = 3;
export const ESTABLISHED = 4;
export const CLOSE_WAIT = 5;
export const FIN_WAIT_1 = 6;
export const CLOSING = 7;
export const LAST_ACK = 8;
export const FIN_WAIT_2 = 9;
export const TIME_WAIT = 10;

export type State =
  | typeof CLOSED
  | typeof LISTEN
  | typeof SYN_SENT
  | typeof SYN_RECEIVED
  | typeof ESTABLISHED
  | typeof CLOSE_WAIT
  | typeof FIN_WAIT_1
  | typeof CLOSING
  | typeof LAST_ACK
  | typeof FIN_WAIT_2
  | typeof TIME_WAIT;

const NAMES = [
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'CLOSE-WAIT',
  'FIN-WAIT-1',
  'CLOSING',
  'LAST-ACK',
  'FIN-WAIT-2',
  'TIME-WAIT',
] as const;

export function stateName(state: State): string {
  return NAMES[state];
}

/** Both ends know each other's sequence numbers (RFC 9293 §3.10: "synchronized"). */
export function isSynchronized(state: State): boolean {
  return state >= ESTABLISHED;
}

/** The peer may still send data. */
export function receiveIsOpen(state: State): boolean {
  return state === ESTABLISHED || state === FIN_WAIT_1 || state === FIN_WAIT_2;
}
