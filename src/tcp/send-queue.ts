/**
 * Bytes that the application has written and the peer has not acknowledged:
 * the application's own buffers, by reference, in order. Offsets are counted
 * from the first unacknowledged byte.
 */
export class SendQueue {
  /** Chunks in a growing ring; the live ones are `#first .. #first + #count`. */
  #chunks: (Uint8Array | null)[] = [];
  /** Stream position (since the connection began) of each chunk's first byte. */
  #positions: number[] = [];
  #first = 0;
  /** Stream position of the first unacknowledged byte; of one past the last. */
  #head = 0;
  #tail = 0;
  /** Where the latest read ended: sending goes on there most of the time. */
  #cursor = 0;

  /** Bytes held. */
  get length(): number {
    return this.#tail - this.#head;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#positions.push(this.#tail);
    this.#tail += chunk.length;
  }

  /** Lets go of the first `bytes` bytes. */
  release(bytes: number): void {
    this.#head += bytes;
    const positions = this.#positions;
    let first = this.#first;
    while (first < positions.length && positions[first]! + this.#chunks[first]!.length <= this.#head) {
      this.#chunks[first] = null;
      first++;
    }
    this.#first = first;
    if (first === positions.length) {
      this.#chunks.length = 0;
      positions.length = 0;
      this.#first = 0;
      this.#cursor = 0;
    } else if (first >= 64 && first * 2 >= positions.length) {
      // Compact when half is dead: each chunk is moved at most once on average.
      this.#chunks.splice(0, first);
      positions.splice(0, first);
      this.#cursor = Math.max(0, this.#cursor - first);
      this.#first = 0;
    }
  }

  /** Copies `length` bytes from `offset` on (both within what is held) to `target` at `at`. */
  copyTo(target: Uint8Array, at: number, offset: number, length: number): void {
    let position = this.#head + offset;
    let index = this.#locate(position);
    let to = at;
    let left = length;
    while (left > 0) {
      const chunk = this.#chunks[index]!;
      const from = position - this.#positions[index]!;
      const part = Math.min(left, chunk.length - from);
      if (from === 0 && part === chunk.length) target.set(chunk, to);
      else target.set(chunk.subarray(from, from + part), to);
      position += part;
      to += part;
      left -= part;
      if (from + part === chunk.length) index++;
    }
    this.#cursor = index;
  }

  #locate(position: number): number {
    const positions = this.#positions;
    const cursor = this.#cursor;
    if (cursor >= this.#first && cursor < positions.length) {
      const start = positions[cursor]!;
      if (position >= start && position < start + this.#chunks[cursor]!.length) return cursor;
    }
    let low = this.#first;
    let high = positions.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (positions[middle]! <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  clear(): void {
    this.#chunks = [];
    this.#positions = [];
    this.#first = 0;
    this.#head = this.#tail;
    this.#cursor = 0;
  }
}
