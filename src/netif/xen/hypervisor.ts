/**
 * What a network driver needs of Xen, as interfaces: `linux` implements them
 * with the devices under /dev/xen, `simulated` in the memory of a process.
 *
 * What is on the data path (`notify`, `unmask`, a {@link GrantCopier}) is
 * synchronous and allocates nothing. Grants and event channels are made and
 * ended synchronously too (each is one hypercall); xenstore is another domain
 * and answers later.
 */

/** Bytes of a page, and so of a grant (XC_PAGE_SIZE): 4096 on every architecture, whatever the kernel's page is. */
export const PAGE_SIZE = 4096;

/** Number of a domain; 0 is the control domain. */
export type DomainId = number;

/** Xen as one domain sees it. */
export interface Hypervisor {
  /** The domain that this process runs in. */
  readonly domain: DomainId;
  readonly grants: Grants;
  readonly events: EventChannels;
  readonly store: Xenstore;
  /** Releases the devices. Grants, mappings, channels and watches that are left end with them. Idempotent. */
  close(): Promise<void>;
}

/** Grant tables: memory of one domain that another may use. */
export interface Grants {
  /**
   * Allocates pages, zeroed, in one contiguous run of the process' memory, and
   * grants each to `domain`.
   *
   * @param writable false where the other domain is to read only
   * @throws NetError `ENOSPC` if the domain has no grants left, `ENOMEM`, …
   */
  share(domain: DomainId, pages: number, writable: boolean): SharedPages;
  /**
   * Maps pages that `domain` granted to this one, for reading and writing, as
   * one contiguous run.
   *
   * @throws NetError `EINVAL` if a reference is not one that was granted to this domain
   */
  map(domain: DomainId, references: readonly number[]): MappedPages;
  /** `size` bytes of this process, contents undefined, that a copier can reach; collected when unused. */
  localMemory(size: number): LocalMemory;
  /** A batch of up to `segments` copies to or from pages that `domain` granted. */
  copier(domain: DomainId, segments: number): GrantCopier;
}

/** Pages of this domain that another was granted. */
export interface SharedPages {
  /** All pages, one behind the other; begins at a multiple of `PAGE_SIZE` in memory. */
  readonly bytes: Uint8Array;
  /** The grant reference of each page. */
  readonly references: readonly number[];
  /**
   * Takes the grants back and gives the memory up: `bytes` must not be touched
   * afterwards. Where the other domain still has a page mapped, that page's
   * grant ends, and its memory becomes free, when it lets go. Idempotent.
   */
  end(): void;
}

/** Pages of another domain. What is in them changes at any time: nothing read from them is to be trusted twice. */
export interface MappedPages {
  readonly bytes: Uint8Array;
  /** `bytes` must not be touched afterwards. Idempotent. */
  unmap(): void;
}

/** Memory of this process, made by {@link Grants.localMemory}. */
export interface LocalMemory {
  readonly bytes: Uint8Array;
}

/** `GrantCopier.status`: the segment was copied (GNTST_okay); everything else is negative. */
export const COPY_OKAY = 0;

/**
 * GNTTABOP_copy. Segments are queued, then run in one call; the hypervisor
 * checks each against the grant table, so a reference that is no good fails
 * its own segment and nothing else.
 */
export interface GrantCopier {
  /** Most segments queued at once. */
  readonly capacity: number;
  /** Segments queued since the last `clear`. */
  readonly count: number;
  /**
   * Queues a copy out of a granted page into `memory.bytes` at `at`. `offset + length` is at
   * most `PAGE_SIZE`, `at + length` within the memory; `count` below `capacity`.
   */
  pull(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void;
  /** Queues a copy of `memory.bytes[at..at + length)` into a page that was granted writable; bounds as of `pull`. */
  push(reference: number, offset: number, memory: LocalMemory, at: number, length: number): void;
  /** Runs what is queued. Never throws for what the other domain did: see {@link status}. */
  run(): void;
  /** After `run`, of the segment that was queued as number `index`: `COPY_OKAY` or a negative GNTST_* number. */
  status(index: number): number;
  /** Forgets all segments, for the next batch. */
  clear(): void;
}

export interface EventChannels {
  /** A channel that `domain` may bind to: its `port` is told to it through xenstore. */
  listen(domain: DomainId, handler: () => void): EventChannel;
  /**
   * Binds to a port that `domain` offered.
   *
   * @throws NetError `EINVAL` if it is not offered to this domain
   */
  bind(domain: DomainId, port: number, handler: () => void): EventChannel;
}

/**
 * One end of an event channel: a bit that the other end sets.
 *
 * The handler is called from the event loop when the bit was set; the channel
 * is then masked, so it is not called again until `unmask`. An event that comes
 * in between is remembered and comes after `unmask`; any number of events before
 * a call are one. Unmask *before* looking at what the event is about, or
 * an event for what came after the look is lost. Calls without a cause happen
 * (one right after binding, for example).
 */
export interface EventChannel {
  /** Of this end. */
  readonly port: number;
  /** Sets the other end's bit. Does nothing once closed, or while nobody is bound to the other end. */
  notify(): void;
  /** Lets the handler be called again. */
  unmask(): void;
  /** The handler is not called any more. Idempotent. */
  close(): void;
}

/** What can be done in xenstore, at once or as a part of a transaction. Paths that do not begin with `/` are below this domain's `/local/domain/ID`. */
export interface XenstoreAccess {
  /** Null if there is no such node. */
  read(path: string): Promise<string | null>;
  /** Makes the node, and its parents, where they are missing. */
  write(path: string, value: string): Promise<void>;
  /** Names of the children; null if there is no such node. */
  list(path: string): Promise<string[] | null>;
  /** Makes an empty node if it is missing. */
  makeDirectory(path: string): Promise<void>;
  /** Removes the node with all below it; no error if there is none. */
  remove(path: string): Promise<void>;
  /**
   * @param permissions the owner and what all others may do, then single domains: `n0` (none for
   * others), `r5` (domain 5 reads), `w`, `b` (both), in the words of xenstore-chmod
   */
  setPermissions(path: string, permissions: readonly string[]): Promise<void>;
}

/**
 * Xenstore. Failures are `NetError`s: `EACCES`, `EINVAL`, `ENOSPC` (quota), `EPIPE` once it is
 * closed. What is not there is not a failure.
 */
export interface Xenstore extends XenstoreAccess {
  /**
   * Does everything in `body`, or nothing. When someone else's change collided
   * (`EAGAIN`), `body` runs again from the start. If it throws, nothing is done.
   */
  transaction<T>(body: (access: XenstoreAccess) => Promise<T>): Promise<T>;
  /**
   * Calls `changed` once soon after, and then whenever the node or anything
   * below it changes, appears or is removed; with the path that changed, in the form of `path`.
   * Several changes may be told as one.
   */
  watch(path: string, changed: (path: string) => void): Promise<XenstoreWatch>;
}

export interface XenstoreWatch {
  /** `changed` is not called any more, from now on. Idempotent. */
  close(): Promise<void>;
}
