import { NetError } from '../../../errors.ts';
import type { Clock } from '../../../time/index.ts';
import type { DomainId, Xenstore, XenstoreWatch } from '../hypervisor.ts';
import { readNumbers } from '../keys.ts';
import { Patience } from '../patience.ts';
import { Serial } from '../serial.ts';
import { readState, stateName, switchState, XenbusState } from '../xenbus-state.ts';

/** Where the frontend of a device is. */
export interface FrontendAddress {
  readonly domain: DomainId;
  readonly folder: string;
}

/** What the state machine does with the device. */
export interface BackendDriver {
  /** Writes what is offered. */
  offer(): Promise<void>;
  /** The frontend has published its rings: maps them. */
  connect(frontend: FrontendAddress): Promise<void>;
  connected(): void;
  /** Stops using the rings and unmaps them. Nothing to do where there are none. */
  disconnect(): void;
  /** The device is gone, or cannot be used; no call follows. */
  gone(error: Error): void;
}

/** How long an orderly end waits for the frontend's answer. */
const PATIENCE_MS = 5000;

/**
 * The backend's half of the xenbus handshake, as steps that look at both states
 * (see `FrontendBus`):
 *
 *   frontend               not connected                        connected
 *   Unknown                wait                                 disconnect, → Closed
 *   Initialising           → InitWait                           disconnect, → InitWait
 *   Initialised, Connected InitWait: map the rings, → Connected carry on
 *                          else another's rings: → Closing
 *   Closing                → Closing                            disconnect, → Closing
 *   Closed                 → Closed                             disconnect, → Closed
 *
 * When the device is being detached (`online` 0), there is only the way down.
 */
export class BackendBus {
  readonly #store: Xenstore;
  readonly #folder: string;
  readonly #driver: BackendDriver;
  readonly #serial: Serial;
  readonly #patience: Patience;
  #watches: XenstoreWatch[] = [];
  #frontend!: FrontendAddress;
  #isUp = false;
  #over = false;

  constructor(store: Xenstore, folder: string, driver: BackendDriver, clock: Clock) {
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
    const store = this.#store;
    const folder = await store.read(`${this.#folder}/frontend`);
    const { 'frontend-id': domain } = await readNumbers(store, this.#folder, ['frontend-id']);
    if (folder === null || domain === undefined) {
      throw new NetError('ENODEV', { syscall: 'xenbus', reason: `there is no ${this.#folder} in xenstore` });
    }
    this.#frontend = { domain, folder };
    await this.#driver.offer();
    const theirs = await readState(store, folder);
    // Rings that are there already are those of a backend before us.
    if (theirs < XenbusState.Initialised) await switchState(store, this.#folder, XenbusState.InitWait);
    else if (theirs < XenbusState.Closing) await switchState(store, this.#folder, XenbusState.Closing);
    const changed = (): void => {
      this.#patience.changed();
      this.#serial.kick();
    };
    this.#watches.push(
      await store.watch(`${folder}/state`, changed),
      await store.watch(`${this.#folder}/online`, changed),
      await store.watch(`${this.#folder}/frontend`, changed),
    );
  }

  /** An orderly end: both sides go to `Closed`, as far as the other one does. */
  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#serial.stop();
    const store = this.#store;
    try {
      if (this.#isUp) {
        await switchState(store, this.#folder, XenbusState.Closing);
        await this.#awaitClosed();
      }
      this.#drop();
      if ((await store.read(`${this.#folder}/frontend`)) !== null) {
        await switchState(store, this.#folder, XenbusState.Closed);
      }
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

  /** For people who wait in vain. */
  async describe(): Promise<string> {
    const ours = await readState(this.#store, this.#folder);
    const theirs = await readState(this.#store, this.#frontend.folder);
    return `${this.#folder} is ${stateName(ours)}, its frontend ${this.#frontend.folder} ${stateName(theirs)}`;
  }

  async #step(): Promise<void> {
    if (this.#over) return;
    const store = this.#store;
    if ((await store.read(`${this.#folder}/frontend`)) === null) {
      throw new NetError('ENODEV', {
        syscall: 'xenbus',
        reason: `${this.#folder} was removed from xenstore`,
      });
    }
    const theirs = await readState(store, this.#frontend.folder);
    const ours = await readState(store, this.#folder);
    const { online } = await readNumbers(store, this.#folder, ['online']);
    const isLeaving = online === 0;
    switch (theirs) {
      case XenbusState.Initialised:
      case XenbusState.Connected:
        if (isLeaving) return this.#move(ours, XenbusState.Closing);
        if (this.#isUp) return;
        if (ours === XenbusState.InitWait) return this.#connect();
        return this.#move(ours, XenbusState.Closing);
      case XenbusState.Closing:
        this.#drop();
        return this.#move(ours, XenbusState.Closing);
      case XenbusState.Initialising:
        this.#drop();
        if (isLeaving) return this.#leave(ours);
        return this.#move(ours, XenbusState.InitWait);
      case XenbusState.Closed:
      case XenbusState.Unknown: {
        const wasUp = this.#isUp;
        this.#drop();
        if (isLeaving) return this.#leave(ours);
        if (wasUp || theirs === XenbusState.Closed) return this.#move(ours, XenbusState.Closed);
      }
    }
  }

  async #connect(): Promise<void> {
    await this.#driver.connect(this.#frontend);
    this.#isUp = true;
    await switchState(this.#store, this.#folder, XenbusState.Connected);
    if (this.#isUp) this.#driver.connected();
  }

  async #leave(ours: XenbusState): Promise<void> {
    await this.#move(ours, XenbusState.Closed);
    throw new NetError('ENODEV', { syscall: 'xenbus', reason: `${this.#folder} was detached` });
  }

  async #move(from: XenbusState, to: XenbusState): Promise<void> {
    if (from !== to) await switchState(this.#store, this.#folder, to);
  }

  /** Until the frontend has let go of its rings, or for as long as is decent. */
  #awaitClosed(): Promise<void> {
    return this.#patience.until(async () => {
      const theirs = await readState(this.#store, this.#frontend.folder);
      // `Initialising`: it begins anew already.
      return theirs === XenbusState.Closed || theirs <= XenbusState.Initialising;
    });
  }

  #drop(): void {
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
      if ((await this.#store.read(`${this.#folder}/frontend`)) !== null) {
        await switchState(this.#store, this.#folder, XenbusState.Closed);
      }
      await this.#unwatch();
    } catch {
      // There is a better error on its way already: the one that ended this.
    }
  }

  async #unwatch(): Promise<void> {
    const watches = this.#watches;
    this.#watches = [];
    await Promise.all(watches.map((watch) => watch.close()));
  }
}
