import { NetError } from '../../../errors.ts';
import type { Clock } from '../../../time/index.ts';
import type { DomainId, Xenstore, XenstoreWatch } from '../hypervisor.ts';
import { readNumbers } from '../keys.ts';
import { type Driver, XenbusEnd } from '../xenbus-end.ts';
import { readState, switchState, XenbusState } from '../xenbus-state.ts';

/** Where the backend of a device is. */
export interface BackendAddress {
  readonly domain: DomainId;
  readonly folder: string;
}

export interface FrontendDriver extends Driver {
  /** The backend waits for us: makes the rings and writes all about them, the state `Connected` included. */
  connect(backend: BackendAddress): Promise<void>;
}

/**
 * The frontend's half of the xenbus handshake. It does not matter in which state
 * it begins, what it missed, or when the other end starts again:
 *
 *   backend               not connected                       connected
 *   Initialising, Unknown wait                                disconnect, begin again
 *   InitWait              make rings, → Connected             disconnect, begin again
 *   Initialised, Connected another's rings: → Closing         carry on
 *   Closing               → Closed                            disconnect, → Closed
 *   Closed                → Initialising                      disconnect, → Initialising
 */
export class FrontendBus extends XenbusEnd<FrontendDriver> {
  #backend: BackendAddress | null = null;
  #backendWatch: XenstoreWatch | null = null;
  /** The rings are made and written down. */
  #published = false;
  #suspended = false;

  constructor(store: Xenstore, folder: string, driver: FrontendDriver, clock: Clock) {
    super(store, folder, driver, clock, 'backend');
  }

  override async start(): Promise<void> {
    await this.watch(`${this.folder}/backend`);
  }

  /** The domain is about to be saved or moved: nothing of the other end is of use any more. */
  async suspend(): Promise<void> {
    this.#suspended = true;
    await this.serial.idle();
    this.drop();
  }

  /** It goes on, maybe on another machine, with another backend. */
  async resume(): Promise<void> {
    if (!this.#suspended || this.isOver) return;
    this.#suspended = false;
    await this.#forgetBackend();
    await switchState(this.store, this.folder, XenbusState.Initialising);
    this.serial.kick();
  }

  protected override get peerFolder(): string | null {
    return this.#backend?.folder ?? null;
  }

  protected override async closeInOrder(): Promise<void> {
    const backend = this.#backend;
    if (!this.#published || backend === null) return this.leaveClosed();
    const { store } = this;
    await switchState(store, this.folder, XenbusState.Closing);
    await this.awaitState(
      backend.folder,
      (state) => state >= XenbusState.Closing || state === XenbusState.Unknown,
    );
    // From here on the backend does not use the rings.
    this.drop();
    await switchState(store, this.folder, XenbusState.Closed);
    await this.awaitState(
      backend.folder,
      (state) => state === XenbusState.Closed || state === XenbusState.Unknown,
    );
  }

  protected override drop(): void {
    this.#published = false;
    super.drop();
  }

  protected override async step(): Promise<void> {
    if (this.#suspended || this.isOver) return;
    const backend = await this.#findBackend();
    const theirs = await readState(this.store, backend.folder);
    if (this.#published) {
      if (theirs === XenbusState.Connected) {
        if (!this.isUp) {
          this.isUp = true;
          this.driver.connected();
        }
        return;
      }
      if (theirs === XenbusState.Initialised) return;
      // Before it has taken the rings, it waits; afterwards, it has begun again.
      if (theirs === XenbusState.InitWait && !this.isUp) return;
      const wasUp = this.isUp;
      this.drop();
      if (wasUp && theirs < XenbusState.Closing) {
        await switchState(this.store, this.folder, XenbusState.Initialising);
      }
    }
    await this.#stepDown(backend, theirs);
  }

  async #stepDown(backend: BackendAddress, theirs: XenbusState): Promise<void> {
    const ours = await readState(this.store, this.folder);
    switch (theirs) {
      case XenbusState.InitWait:
        if (this.isOver || this.#suspended) return;
        this.#published = true;
        await this.driver.connect(backend);
        return;
      case XenbusState.Initialised:
      case XenbusState.Connected:
        // Someone who is not there any more had rings here.
        return this.move(ours, XenbusState.Closing);
      case XenbusState.Closing:
        return this.move(ours, XenbusState.Closed);
      case XenbusState.Closed: {
        const { online } = await readNumbers(this.store, backend.folder, ['online']);
        if (online === 0) {
          await this.move(ours, XenbusState.Closed);
          throw new NetError('ENODEV', { syscall: 'xenbus', reason: `${this.folder} was detached` });
        }
        return this.move(ours, XenbusState.Initialising);
      }
    }
  }

  /** The backend that the device names, watched. */
  async #findBackend(): Promise<BackendAddress> {
    const folder = await this.readPeerFolder();
    if (folder === null) {
      throw new NetError('ENODEV', { syscall: 'xenbus', reason: `there is no ${this.folder} in xenstore` });
    }
    if (this.#backend?.folder === folder) return this.#backend;
    await this.#forgetBackend();
    const { 'backend-id': domain } = await readNumbers(this.store, this.folder, ['backend-id']);
    if (domain === undefined) {
      throw new NetError('ENODEV', { syscall: 'xenbus', reason: `${this.folder} has no backend-id` });
    }
    this.#backend = { domain, folder };
    this.#backendWatch = await this.watch(`${folder}/state`);
    return this.#backend;
  }

  async #forgetBackend(): Promise<void> {
    if (this.#published) this.drop();
    this.#backend = null;
    const watch = this.#backendWatch;
    this.#backendWatch = null;
    if (watch !== null) await this.forget(watch);
  }
}
