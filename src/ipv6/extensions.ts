import {
  FRAGMENT_HEADER,
  HEADER,
  NEXT_DESTINATION_OPTIONS,
  NEXT_FRAGMENT,
  NEXT_HEADER,
  NEXT_HOP_BY_HOP,
  NEXT_NONE,
  NEXT_ROUTING,
} from './wire.ts';

/** RFC 8504 §5.3 lets a host limit what it looks at; nobody sends more in earnest. */
const MAX_HEADERS = 8;
const MAX_OPTIONS = 8;
/** RFC 8504 §5.3: padding beyond what aligns eight bytes serves nobody but a covert channel. */
const MAX_PADDING = 7;

const PAD1 = 0;
const PADN = 1;
/** RFC 2711 and RFC 3810 §5: says nothing to a host. */
const ROUTER_ALERT = 5;

/** Parameter problem codes (RFC 4443 §3.4, RFC 7112 §5). */
export const PROBLEM_FIELD = 0;
export const PROBLEM_NEXT_HEADER = 1;
export const PROBLEM_OPTION = 2;
export const PROBLEM_INCOMPLETE_CHAIN = 3;

/** What {@link HeaderChain.walk} answers. */
export const CHAIN_COMPLETE = 0;
/** A fragment header is at `at`. */
export const CHAIN_FRAGMENT = 1;
/** To be dropped without a word: malformed beyond what can be pointed at, beyond a limit, or because an option says so. */
export const CHAIN_DROP = 2;
/** To be dropped with a parameter problem: `code`, `pointer`. */
export const CHAIN_PROBLEM = 3;
/** The headers go on behind the end of the packet. */
export const CHAIN_CUT = 4;
/** No next header: nothing is left to do. */
export const CHAIN_EMPTY = 5;

export type ChainEnd = 0 | 1 | 2 | 3 | 4 | 5;

/** The extension headers of a packet, walked once (RFC 8200 §4). Reused for every packet. */
export class HeaderChain {
  /** Where the walk ended: the transport header, or the fragment header. */
  at = 0;
  /** Offset of the byte that names what is at `at`. */
  nextHeaderAt = 0;
  /** Of a parameter problem; the pointer is relative to the IPv6 header. */
  code = 0;
  pointer = 0;
  /** The problem is told even to whoever sent to a group (RFC 8200 §4.2, action 10). */
  evenToGroup = false;
  #bytes!: Uint8Array;
  #header = 0;
  #isGroup = false;

  /** Starts at the IPv6 header at `header`; `end` is one past the packet. */
  walk(bytes: Uint8Array, header: number, end: number, isGroup: boolean): ChainEnd {
    this.#bytes = bytes;
    this.#header = header;
    this.#isGroup = isGroup;
    this.at = header + HEADER;
    this.nextHeaderAt = header + NEXT_HEADER;
    return this.#resume(end);
  }

  /** Goes on behind an atomic fragment's header. */
  skipFragment(end: number): ChainEnd {
    this.nextHeaderAt = this.at;
    this.at += FRAGMENT_HEADER;
    return this.#resume(end);
  }

  #resume(end: number): ChainEnd {
    const bytes = this.#bytes;
    for (let count = 0; count <= MAX_HEADERS; count++) {
      const next = bytes[this.nextHeaderAt]!;
      switch (next) {
        case NEXT_HOP_BY_HOP:
          // RFC 8200 §4.1: only at the very front.
          if (this.at !== this.#header + HEADER) {
            return this.#problem(PROBLEM_NEXT_HEADER, this.nextHeaderAt);
          }
          break;
        case NEXT_DESTINATION_OPTIONS:
        case NEXT_ROUTING:
          break;
        case NEXT_FRAGMENT:
          return this.at + FRAGMENT_HEADER > end ? CHAIN_CUT : CHAIN_FRAGMENT;
        case NEXT_NONE:
          return CHAIN_EMPTY;
        default:
          return CHAIN_COMPLETE;
      }
      const { at } = this;
      if (at + 8 > end) return CHAIN_CUT;
      const length = (bytes[at + 1]! + 1) << 3;
      if (at + length > end) return CHAIN_CUT;
      const verdict =
        next === NEXT_ROUTING ? this.#checkRouting(at) : this.#checkOptions(at + 2, at + length);
      if (verdict !== CHAIN_COMPLETE) return verdict;
      this.nextHeaderAt = at;
      this.at = at + length;
    }
    return CHAIN_DROP;
  }

  /**
   * RFC 8200 §4.4: a routing header that has nothing left to do is passed over;
   * any other is of a type that we do not know. Type 0 is one of these (RFC 5095 §3).
   */
  #checkRouting(at: number): ChainEnd {
    const segmentsLeft = this.#bytes[at + 3]!;
    return segmentsLeft === 0 ? CHAIN_COMPLETE : this.#problem(PROBLEM_FIELD, at + 2);
  }

  /** RFC 8200 §4.2: type, length, data; the type's two highest bits say what is to be done by who does not know it. */
  #checkOptions(from: number, end: number): ChainEnd {
    const bytes = this.#bytes;
    let count = 0;
    let padding = 0;
    for (let at = from; at < end; ) {
      const type = bytes[at]!;
      if (type === PAD1) {
        if (++padding > MAX_PADDING) return CHAIN_DROP;
        at++;
        continue;
      }
      if (at + 2 > end) return CHAIN_DROP;
      const length = 2 + bytes[at + 1]!;
      if (at + length > end) return this.#problem(PROBLEM_FIELD, at + 1);
      if (type === PADN) {
        padding += length;
        if (padding > MAX_PADDING) return CHAIN_DROP;
      } else {
        padding = 0;
        if (++count > MAX_OPTIONS) return CHAIN_DROP;
        const action = type === ROUTER_ALERT ? 0 : type >>> 6;
        if (action === 1) return CHAIN_DROP;
        if (action === 2) return this.#problem(PROBLEM_OPTION, at, true);
        if (action === 3) return this.#isGroup ? CHAIN_DROP : this.#problem(PROBLEM_OPTION, at);
      }
      at += length;
    }
    return CHAIN_COMPLETE;
  }

  #problem(code: number, at: number, evenToGroup = false): ChainEnd {
    this.code = code;
    this.pointer = at - this.#header;
    this.evenToGroup = evenToGroup;
    return CHAIN_PROBLEM;
  }
}
