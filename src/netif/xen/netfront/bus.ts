import { NetError } from '../../../errors.ts';
import type { Clock } from '../../../time/index.ts';
import type { DomainId, Xenstore, XenstoreWatch } from '../hypervisor.ts';
import { readNumbers } from '../keys.ts';
import { Patience } from '../patience.ts';
import { Serial } from '../serial.ts';
import { parseState, readState, stateName, switchState, XenbusState } from '../xenbus-state.ts';

/** Where the backend of a device is. */
export interface BackendAddress {
  readonly domain: DomainId;
  readonly folder: string;
}

/** What the state machine does with the device. */
export interface FrontendDriver {
  /** The backend waits for us: makes the rings and writes all about them, the state `Connected` included. */
  connect(backend: BackendAddress): Promise<void>;
  /** The backend has taken the rings. */
  connected(): void;
  /** Stops using the rings and gives back what they are made of. Nothing to do where there are none. */
  disconnect(): void;
  /** The device is gone, or cannot be used; no call follows. */
  gone(error: Error): void;
}

/** How long an orderly end waits for each of the backend's answers. */
const PATIENCE_MS = 5000;

/**
 * The frontend's half of the xenbus handshake. Each step looks at both states
 * and does the one thing that comes next, so it does not matter in which state
 * it begins, what it missed, or when the other end starts again:
 *
 *   backend               not connected                       connected
 *   Initialising, Unknown wait                                disconnect, begin again
 *   InitWait              make rings, → Connected             disconnect, begin again
 *   Initialised, Connected another's rings: → Closing         carry on
 *   Closing               → Closed                            disconnect, → Closed
 *   Closed                → Initialising                      disconnect, → Initialising
 */
export class FrontendBus {
  readonly #store: Xenstore;
  readonly #folder: string;
  readonly #driver: FrontendDriver;
  readonly #serial: Serial;
  readonly #patience: Patience;
  #watches: XenstoreWatch[] = [];
  #backend: BackendAddress | null = null;
  #backendWatch: XenstoreWatch | null = null;
  /** The rings are made and written down. */
  #published = false;
  #isUp = false;
  #suspended = false;
  #over = false;

  constructor(store: Xenstore, folder: string, driver: FrontendDriver, clock: Clock) {
    this.#store = store;
    this.#folder = folder;
    this.#driver = driver;
    this.#patience = new Patience(clock, PATIENCE_MS);
    this.#serial = new Serial(
      () => this.#step(),
      (error) => void this.#fail(error),
    );
  }

  /** @throws NetError `ENODEV` if there is no such device */
  async start(): Promise<void> {
    this.#watches.push(await this.#store.watch(`${this.#folder}/backend`, () => this.#changed()));
  }

  /** The domain is about to be saved or moved: nothing of the other end is of use any more. */
  async suspend(): Promise<void> {
    this.#suspended = true;
    await this.#serial.idle();
    this.#drop();
  }

  /** It goes on, maybe on another machine, with another backend. */
  async resume(): Promise<void> {
    if (!this.#suspended || this.#over) return;
    this.#suspended = false;
    await this.#forgetBackend();
    await switchState(this.#store, this.#folder, XenbusState.Initialising);
    this.#serial.kick();
  }

  /** An orderly end: both sides go to `Closed`, as far as the other one does. */
  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#serial.stop();
    try {
      if (this.#published && this.#backend !== null) await this.#closeInOrder(this.#backend.folder);
      else if (await this.#exists()) await switchState(this.#store, this.#folder, XenbusState.Closed);
    } finally {
      this.#drop();
      await this.#unwatch();
    }
  }

  /** The other end broke the protocol: no more of it. */
  async abandon(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#drop();
    await this.#serial.stop();
    await this.#end();
  }

  async #closeInOrder(backend: string): Promise<void> {
    const store = this.#store;
    await switchState(store, this.#folder, XenbusState.Closing);
    await this.#await(backend, (state) => state >= XenbusState.Closing || state === XenbusState.Unknown);
    // From here on the backend does not use the rings.
    this.#drop();
    await switchState(store, this.#folder, XenbusState.Closed);
    await this.#await(backend, (state) => state === XenbusState.Closed || state === XenbusState.Unknown);
  }

  /** Until the backend's state is as wanted, or for as long as is decent. */
  #await(backend: string, isWanted: (state: XenbusState) => boolean): Promise<void> {
    return this.#patience.until(async () => isWanted(await readState(this.#store, backend)));
  }

  #changed(): void {
    this.#patience.changed();
    this.#serial.kick();
  }

  async #step(): Promise<void> {
    if (this.#suspended || this.#over) return;
    const backend = await this.#findBackend();
    if (backend === null) return;
    const store = this.#store;
    const theirs = parseState(await store.read(`${backend.folder}/state`));
    if (this.#published) {
      if (theirs === XenbusState.Connected) {
        if (!this.#isUp) {
          this.#isUp = true;
          this.#driver.connected();
        }
        return;
      }
      if (theirs === XenbusState.Initialised) return;
      // Before it has taken the rings, it waits; afterwards, it has begun again.
      if (theirs === XenbusState.InitWait && !this.#isUp) return;
      const wasUp = this.#isUp;
      this.#drop();
      if (wasUp && theirs < XenbusState.Closing) {
        await switchState(store, this.#folder, XenbusState.Initialising);
      }
    }
    await this.#stepDown(backend, theirs);
  }

  async #stepDown(backend: BackendAddress, theirs: XenbusState): Promise<void> {
    const ours = await readState(this.#store, this.#folder);
    switch (theirs) {
      case XenbusState.InitWait:
        if (this.#over || this.#suspended) return;
        this.#published = true;
        await this.#driver.connect(backend);
        return;
      case XenbusState.Initialised:
      case XenbusState.Connected:
        // Someone who is not there any more had rings here.
        return this.#move(ours, XenbusState.Closing);
      case XenbusState.Closing:
        return this.#move(ours, XenbusState.Closed);
      case XenbusState.Closed: {
        const { online } = await readNumbers(this.#store, backend.folder, ['online']);
        if (online === 0) {
          await this.#move(ours, XenbusState.Closed);
          throw new NetError('ENODEV', { syscall: 'xenbus', reason: `${this.#folder} was detached` });
        }
        return this.#move(ours, XenbusState.Initialising);
      }
    }
  }

  async #move(from: XenbusState, to: XenbusState): Promise<void> {
    if (from !== to) await switchState(this.#store, this.#folder, to);
  }

  /** The backend that the device names, watched; null while none is named. */
  async #findBackend(): Promise<BackendAddress | null> {
    const store = this.#store;
    const folder = await store.read(`${this.#folder}/backend`);
    if (folder === null) {
      throw new NetError('ENODEV', { syscall: 'xenbus', reason: `there is no ${this.#folder} in xenstore` });
    }
    if (this.#backend?.folder === folder) return this.#backend;
    await this.#forgetBackend();
    const { 'backend-id': domain } = await readNumbers(store, this.#folder, ['backend-id']);
    if (domain === undefined) {
      throw new NetError('ENODEV', { syscall: 'xenbus', reason: `${this.#folder} has no backend-id` });
    }
    this.#backend = { domain, folder };
    this.#backendWatch = await store.watch(`${folder}/state`, () => this.#changed());
    return this.#backend;
  }

  async #forgetBackend(): Promise<void> {
    if (this.#published) this.#drop();
    this.#backend = null;
    const watch = this.#backendWatch;
    this.#backendWatch = null;
    await watch?.close();
  }

  #drop(): void {
    this.#published = false;
    this.#isUp = false;
    this.#driver.disconnect();
  }

  async #fail(error: Error): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#drop();
    this.#driver.gone(error);
    await this.#end();
  }

  /** Tells the other end, if it can be told, and lets go of xenstore. */
  async #end(): Promise<void> {
    try {
      if (await this.#exists()) await switchState(this.#store, this.#folder, XenbusState.Closed);
      await this.#unwatch();
    } catch {
      // There is a better error on its way already: the one that ended this.
    }
  }

  async #exists(): Promise<boolean> {
    return (await this.#store.read(`${this.#folder}/backend`)) !== null;
  }

  async #unwatch(): Promise<void> {
    const watches = this.#watches;
    this.#watches = [];
    await this.#backendWatch?.close();
    await Promise.all(watches.map((watch) => watch.close()));
  }

  /** For people who wait in vain. */
  async describe(): Promise<string> {
    const backend = this.#backend;
    if (backend === null) return `${this.#folder} names no backend`;
    const theirs = await readState(this.#store, backend.folder);
    const ours = await readState(this.#store, this.#folder);
    return `${this.#folder} is ${stateName(ours)}, its backend ${backend.folder} ${stateName(theirs)}`;
  }
}
