/** No bytes. */
const NONE = new Uint8Array(0);

/** The two arrays asked for last: the stacks of one process, or a device and its peer, take turns. */
let latest: Uint8Array = NONE;
let latestWords: DataView = new DataView(NONE.buffer);
let former: Uint8Array = NONE;
let formerWords = latestWords;

/**
 * The big-endian words of all of `bytes`: for headers, which are written in half
 * the time that they take byte by byte. A view is made where other memory comes
 * along than in the two calls with different memory before; a device's slab comes
 * again and again.
 */
export function wordsOf(bytes: Uint8Array): DataView {
  if (bytes === latest) return latestWords;
  const words = bytes === former ? formerWords : new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  former = latest;
  formerWords = latestWords;
  latest = bytes;
  latestWords = words;
  return words;
}
