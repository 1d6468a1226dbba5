import type { Clock } from '../../time/index.ts';
import type { Xenstore, XenstoreWatch } from './hypervisor.ts';
import { Patience } from './patience.ts';
import { Serial } from './serial.ts';
import { readState, stateName, switchState, XenbusState } from './xenbus-state.ts';

/** What a handshake does with the device, whichever end it is. */
export interface Driver {
  /** Both ends have the rings. */
  connected(): void;
  /** Stops using the rings and gives back what they are made of. Nothing to do where there are none. */
  disconnect(): void;
  /** The device is gone, or cannot be used; no call follows. */
  gone(error: Error): void;
}

/** How long an orderly end waits for each answer of the other one. */
const PATIENCE_MS = 5000;

/**
 * One end of a device in xenstore, as both have it: a step that looks at both
 * states and does what comes next is run after every change, one at a time, until
 * the device is closed, abandoned or gone.
 */
export abstract class XenbusEnd<D extends Driver> {
  protected readonly store: Xenstore;
  protected readonly folder: string;
  protected readonly driver: D;
  protected readonly serial: Serial;
  /** The rings are in use at both ends. */
  protected isUp = false;
  /** No step follows. */
  protected isOver = false;
  /** In our folder: where the other end's is. */
  readonly #peerKey: 'backend' | 'frontend';
  readonly #patience: Patience;
  #watches: XenstoreWatch[] = [];

  protected constructor(
    store: Xenstore,
    folder: string,
    driver: D,
    clock: Clock,
    peerKey: 'backend' | 'frontend',
  ) {
    this.store = store;
    this.folder = folder;
    this.driver = driver;
    this.#peerKey = peerKey;
    this.#patience = new Patience(clock, PATIENCE_MS);
    this.serial = new Serial(
      () => this.step(),
      (error) => void this.#fail(error),
    );
  }

  /** Begins. @throws NetError `ENODEV` if there is no such device */
  abstract start(): Promise<void>;

  /** Looks at both states and does what comes next. */
  protected abstract step(): Promise<void>;

  /** Both sides go to `Closed`, as far as the other one does. */
  protected abstract closeInOrder(): Promise<void>;

  /** The other end's folder, as far as it is known. */
  protected abstract get peerFolder(): string | null;

  /** An orderly end. */
  async close(): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    await this.serial.stop();
    try {
      await this.closeInOrder();
    } finally {
      this.drop();
      await this.unwatch();
    }
  }

  /** The other end broke the protocol: no more of it. */
  async abandon(): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    this.drop();
    await this.serial.stop();
    await this.#end();
  }

  /** For people who wait in vain. */
  async describe(): Promise<string> {
    const { folder, peerFolder } = this;
    if (peerFolder === null) return `${folder} names no ${this.#peerKey}`;
    const ours = stateName(await readState(this.store, folder));
    const theirs = stateName(await readState(this.store, peerFolder));
    return `${folder} is ${ours}, its ${this.#peerKey} ${peerFolder} ${theirs}`;
  }

  /** Folder of the other end, as it stands in ours; null if the device is not there. */
  protected readPeerFolder(): Promise<string | null> {
    return this.store.read(`${this.folder}/${this.#peerKey}`);
  }

  protected async watch(path: string): Promise<XenstoreWatch> {
    const watch = await this.store.watch(path, () => {
      this.#patience.changed();
      this.serial.kick();
    });
    this.#watches.push(watch);
    return watch;
  }

  /** Ends one {@link watch}. */
  protected async forget(watch: XenstoreWatch): Promise<void> {
    this.#watches = this.#watches.filter((one) => one !== watch);
    await watch.close();
  }

  protected async unwatch(): Promise<void> {
    const watches = this.#watches;
    this.#watches = [];
    await Promise.all(watches.map((watch) => watch.close()));
  }

  protected async move(from: XenbusState, to: XenbusState): Promise<void> {
    if (from !== to) await switchState(this.store, this.folder, to);
  }

  /** Until the state in `folder` is as wanted, or for as long as is decent. */
  protected awaitState(folder: string, isWanted: (state: XenbusState) => boolean): Promise<void> {
    return this.#patience.until(async () => isWanted(await readState(this.store, folder)));
  }

  /** Says that we have closed, if there is still somebody to say it to. */
  protected async leaveClosed(): Promise<void> {
    if ((await this.readPeerFolder()) !== null) {
      await switchState(this.store, this.folder, XenbusState.Closed);
    }
  }

  protected drop(): void {
    this.isUp = false;
    this.driver.disconnect();
  }

  async #fail(error: Error): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    this.drop();
    this.driver.gone(error);
    await this.#end();
  }

  /** Tells the other end, if it can be told, and lets go of xenstore. */
  async #end(): Promise<void> {
    try {
      await this.leaveClosed();
      await this.unwatch();
    } catch {
      // There is a better error on its way already: the one that ended this.
    }
  }
}
