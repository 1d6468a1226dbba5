import { systemError } from './errno.ts';
import { libc, type NativeMemory } from './libc.ts';

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;

/** Gives the addresses back when nobody can reach the bytes any more. */
const collected = new FinalizationRegistry<{ address: number; length: number }>(({ address, length }) => {
  libc().munmap(address, length);
});

/** Memory of a device, mapped for reading and writing and shared with whoever else has it. */
export class Mapping implements NativeMemory {
  readonly bytes: Uint8Array;
  readonly address: number;
  #mapped = true;

  /**
   * @param length bytes, a multiple of the page size
   * @param offset what the device calls this memory
   * @param name for people: `mmap /dev/xen/gntdev`
   */
  constructor(
    fd: number,
    length: number,
    offset: number,
    name: string,
    reasons: Partial<Record<number, string>> = {},
  ) {
    const c = libc();
    this.address = c.mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    if (this.address === -1) {
      const errno = c.errno();
      throw systemError(errno, name, reasons[errno]);
    }
    const view = c.view(this.address, length);
    this.bytes = Buffer.from(view);
    collected.register(view, { address: this.address, length });
  }

  /**
   * The device has its memory back when this returns. Whoever still holds the
   * bytes meets zeroes of this process' own in place of a segmentation fault.
   * Idempotent.
   */
  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    const { address } = this;
    const result = libc().mmap(
      address,
      this.bytes.length,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
      -1,
      0,
    );
    if (result === -1) throw systemError(libc().errno(), 'mmap');
  }
}
