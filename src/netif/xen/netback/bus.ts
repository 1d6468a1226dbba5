import { NetError } from '../../../errors.ts';
import type { Clock } from '../../../time/index.ts';
import type { DomainId, Xenstore } from '../hypervisor.ts';
import { readNumbers } from '../keys.ts';
import { type Driver, XenbusEnd } from '../xenbus-end.ts';
import { readState, switchState, XenbusState } from '../xenbus-state.ts';

/** Where the frontend of a device is. */
export interface FrontendAddress {
  readonly domain: DomainId;
  readonly folder: string;
}

export interface BackendDriver extends Driver {
  /** Writes what is offered. */
  offer(): Promise<void>;
  /** The frontend has published its rings: maps them. */
  connect(frontend: FrontendAddress): Promise<void>;
}

/**
 * The backend's half of the xenbus handshake:
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
export class BackendBus extends XenbusEnd<BackendDriver> {
  #frontend: FrontendAddress | null = null;

  constructor(store: Xenstore, folder: string, driver: BackendDriver, clock: Clock) {
    super(store, folder, driver, clock, 'frontend');
  }

  override async start(): Promise<void> {
    const { store } = this;
    const folder = await this.readPeerFolder();
    const { 'frontend-id': domain } = await readNumbers(store, this.folder, ['frontend-id']);
    if (folder === null || domain === undefined) {
      throw new NetError('ENODEV', { syscall: 'xenbus', reason: `there is no ${this.folder} in xenstore` });
    }
    this.#frontend = { domain, folder };
    await this.driver.offer();
    const theirs = await readState(store, folder);
    // Rings that are there already are those of a backend before us.
    if (theirs < XenbusState.Initialised) await switchState(store, this.folder, XenbusState.InitWait);
    else if (theirs < XenbusState.Closing) await switchState(store, this.folder, XenbusState.Closing);
    await this.watch(`${folder}/state`);
    await this.watch(`${this.folder}/online`);
    await this.watch(`${this.folder}/frontend`);
  }

  protected override get peerFolder(): string | null {
    return this.#frontend?.folder ?? null;
  }

  protected override async closeInOrder(): Promise<void> {
    if (this.isUp) {
      await switchState(this.store, this.folder, XenbusState.Closing);
      // Until it has let go of its rings. `Initialising`: it begins anew already.
      await this.awaitState(
        this.#frontend!.folder,
        (theirs) => theirs === XenbusState.Closed || theirs <= XenbusState.Initialising,
      );
    }
    this.drop();
    await this.leaveClosed();
  }

  protected override async step(): Promise<void> {
    if (this.isOver) return;
    const { store } = this;
    if ((await this.readPeerFolder()) === null) {
      throw new NetError('ENODEV', {
        syscall: 'xenbus',
        reason: `${this.folder} was removed from xenstore`,
      });
    }
    const frontend = this.#frontend!;
    const theirs = await readState(store, frontend.folder);
    const ours = await readState(store, this.folder);
    const { online } = await readNumbers(store, this.folder, ['online']);
    const isLeaving = online === 0;
    switch (theirs) {
      case XenbusState.Initialised:
      case XenbusState.Connected:
        if (isLeaving) return this.move(ours, XenbusState.Closing);
        if (this.isUp) return;
        if (ours === XenbusState.InitWait) return this.#connect(frontend);
        return this.move(ours, XenbusState.Closing);
      case XenbusState.Closing:
        this.drop();
        return this.move(ours, XenbusState.Closing);
      case XenbusState.Initialising:
        this.drop();
        if (isLeaving) return this.#leave(ours);
        return this.move(ours, XenbusState.InitWait);
      case XenbusState.Closed:
      case XenbusState.Unknown: {
        const wasUp = this.isUp;
        this.drop();
        if (isLeaving) return this.#leave(ours);
        if (wasUp || theirs === XenbusState.Closed) return this.move(ours, XenbusState.Closed);
      }
    }
  }

  async #connect(frontend: FrontendAddress): Promise<void> {
    await this.driver.connect(frontend);
    this.isUp = true;
    await switchState(this.store, this.folder, XenbusState.Connected);
    if (this.isUp) this.driver.connected();
  }

  async #leave(ours: XenbusState): Promise<void> {
    await this.move(ours, XenbusState.Closed);
    throw new NetError('ENODEV', { syscall: 'xenbus', reason: `${this.folder} was detached` });
  }
}
