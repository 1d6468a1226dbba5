/** BBR.state (draft-ietf-ccwg-bbr §5.1). */
export type BbrState =
  | 'startup'
  | 'drain'
  | 'probe-bw-down'
  | 'probe-bw-cruise'
  | 'probe-bw-refill'
  | 'probe-bw-up'
  | 'probe-rtt';

/** BBR.pacing_gain and BBR.cwnd_gain of each state (§5.6.1). */
export const GAINS: Readonly<Record<BbrState, { readonly pacing: number; readonly cwnd: number }>> = {
  startup: { pacing: 2.77, cwnd: 2 },
  drain: { pacing: 0.5, cwnd: 2 },
  'probe-bw-down': { pacing: 0.9, cwnd: 2 },
  'probe-bw-cruise': { pacing: 1, cwnd: 2 },
  'probe-bw-refill': { pacing: 1, cwnd: 2 },
  'probe-bw-up': { pacing: 1.25, cwnd: 2.25 },
  'probe-rtt': { pacing: 1, cwnd: 0.5 },
};

/** IsInAProbeBWState (§5.3.3.9). */
export function isProbeBw(state: BbrState): boolean {
  return (
    state === 'probe-bw-cruise' ||
    state === 'probe-bw-down' ||
    state === 'probe-bw-refill' ||
    state === 'probe-bw-up'
  );
}

/** IsProbingBW (§5.3.3.9): is more sent than the network is known to deliver? */
export function isProbing(state: BbrState): boolean {
  return state === 'startup' || state === 'probe-bw-refill' || state === 'probe-bw-up';
}
