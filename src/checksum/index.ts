/**
 * Internet checksums (RFC 1071). A *sum* is a folded one's complement sum, 0 to
 * 0xffff, of big-endian 16-bit words, not inverted; a *checksum* is its
 * complement, as it stands in a header.
 *
 * Long data is summed by a small SIMD WebAssembly module where the host has
 * one, else in JavaScript; which of them is decided once, when this is loaded.
 */
import { loadSimd } from './simd.ts';
import { portableSummer, simdSummer } from './summer.ts';

export { complement, fold, pseudoHeaderSum, update16 } from './arithmetic.ts';

const simd = loadSimd();
const summer = simd === null ? portableSummer() : simdSummer(simd);

/**
 * Adds the words of `bytes[start..end)` to `initial`; an odd last byte counts
 * as the high half of a word.
 */
export const sum = summer.sum;

/**
 * Copies `source[start..end)` to `target` at `offset` and adds its words to
 * `initial`. Source and target must not overlap.
 */
export const copyAndSum = summer.copyAndSum;

/**
 * `size` bytes, contents undefined, in memory where a sum needs no copy
 * (WebAssembly's): right for an area that frames are built in. Ordinary memory
 * if there is no room left (1 MiB in all) or no WebAssembly. Give it back with
 * {@link releaseSummable}: it is not collected.
 */
export const allocateSummable = summer.allocateSummable;

/** Takes back what {@link allocateSummable} gave; nobody may write there any more. */
export const releaseSummable = summer.releaseSummable;

/**
 * Of payloads that lie behind each other in `bytes[start..end)`, `size` bytes
 * each but the last: the index of the first that does not complete the sum of
 * its headers, `headers[i]` (unfolded), to a right checksum; their number if all do.
 */
export const firstUnsound = summer.firstUnsound;
