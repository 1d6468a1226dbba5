/**
 * The entries of the two rings (io/netif.h), as 32-bit words in the order of
 * the machine, which is little-endian wherever Xen runs. An entry is read word
 * by word, each word once: the other end may change it at any time.
 *
 *   tx request     0 gref · 1 flags << 16 | offset · 2 size << 16 | id
 *   tx response    0 status << 16 | id
 *   rx request     0 id · 1 gref
 *   rx response    0 offset << 16 | id · 1 status << 16 | flags
 *   extra info     0 size << 16 | flags << 8 | type · 1 features << 16 | gso type
 *                  (or, of a multicast address: 0 its first two bytes << 16 | flags << 8 | type · 1 the other four)
 */

/** Words per entry of a tx ring, request and response alike. */
export const TX_WORDS = 3;
/** Words per entry of an rx ring. */
export const RX_WORDS = 2;

/** Slots that every backend takes for one packet (XEN_NETIF_NR_SLOTS_MIN). */
export const MAX_SLOTS = 18;
/** Longest packet: the size is 16 bits (XEN_NETIF_MAX_TX_SIZE). */
export const MAX_PACKET = 0xffff;

/** Flags of tx requests (NETTXF_*). */
export const TX_CSUM_BLANK = 1;
export const TX_DATA_VALIDATED = 2;
export const TX_MORE_DATA = 4;
export const TX_EXTRA_INFO = 8;

/** Flags of rx responses (NETRXF_*): not the same bits. */
export const RX_DATA_VALIDATED = 1;
export const RX_CSUM_BLANK = 2;
export const RX_MORE_DATA = 4;
export const RX_EXTRA_INFO = 8;

/** Responses (NETIF_RSP_*). */
export const RSP_DROPPED = -2;
export const RSP_ERROR = -1;
export const RSP_OKAY = 0;
/** Of a tx slot that held extra info: there is no id. */
export const RSP_NULL = 1;

/** Types of extra info (XEN_NETIF_EXTRA_TYPE_*). */
export const EXTRA_GSO = 1;
export const EXTRA_MCAST_ADD = 2;
export const EXTRA_MCAST_DEL = 3;
/** Flag of extra info: another follows. */
export const EXTRA_MORE = 1;

/** XEN_NETIF_GSO_TYPE_*. */
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 2;

/** The low 16 bits. */
export function low(word: number): number {
  return word & 0xffff;
}

/** The high 16 bits. */
export function high(word: number): number {
  return word >>> 16;
}

/** The high 16 bits as a signed number: a status. */
export function signedHigh(word: number): number {
  return word >> 16;
}

export function pair(highHalf: number, lowHalf: number): number {
  return (highHalf << 16) | lowHalf;
}

export function extraType(word: number): number {
  return word & 0xff;
}

export function extraFlags(word: number): number {
  return (word >>> 8) & 0xff;
}
