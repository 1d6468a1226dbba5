import type { Clock } from '../../src/time/index.ts';

/** What happened in a run: a digest of all of it, the violations, and the text of the latest events. */
export class Journal {
  readonly violations: string[] = [];
  /** Told of each event, for `--verbose`. */
  onEvent: ((line: string) => void) | null = null;
  frames = 0;
  bytes = 0;
  readonly #clock: Clock;
  #digest = 0x811c9dc5;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The same for two runs if, and nearly only if, the same happened at the same times. */
  get digest(): number {
    return this.#digest >>> 0;
  }

  frame(host: number, bytes: Uint8Array, start: number, end: number): void {
    this.frames++;
    this.bytes += end - start;
    this.#mix(host);
    this.#mix(Math.round(this.#clock.now() * 1000) | 0);
    // The headers: the checksum in them stands for the rest.
    const stop = Math.min(end, start + 80);
    for (let i = start; i < stop; i++) this.#mix(bytes[i]!);
    this.#mix(end - start);
  }

  /** Something that an application did or saw. */
  event(text: string): void {
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
    this.onEvent?.(`${this.#clock.now().toFixed(3).padStart(12)} ${text}`);
  }

  violation(text: string): void {
    this.violations.push(`at ${this.#clock.now().toFixed(3)} ms: ${text}`);
    this.onEvent?.(`${this.#clock.now().toFixed(3).padStart(12)} VIOLATION ${text}`);
  }

  #mix(value: number): void {
    this.#digest = Math.imul(this.#digest ^ value, 0x01000193);
    this.#digest ^= this.#digest >>> 15;
  }
}
