/**
 * What libuv's handles give Node's `net`: events come in turns of the event
 * loop, after all ticks and microtasks of the one before, in the asynchronous
 * context in which the handle was made; and an active handle keeps the process.
 */
import { AsyncResource } from 'node:async_hooks';

type Task = () => void;

/** Tasks in order; each runs in a turn of its own, so that ticks run in between. */
class Turns {
  readonly #urgent: Task[] = [];
  readonly #urgentScopes: AsyncResource[] = [];
  /** Task and scope side by side: no object for each. */
  #tasks: Task[] = [];
  #scopes: AsyncResource[] = [];
  #next = 0;
  readonly #run = (): void => {
    const urgent = this.#urgent.shift();
    if (urgent !== undefined) {
      this.#urgentScopes.shift()!.runInAsyncScope(urgent);
      return;
    }
    const scope = this.#scopes[this.#next]!;
    const task = this.#tasks[this.#next++]!;
    if (this.#next === this.#tasks.length) {
      this.#tasks = [];
      this.#scopes = [];
      this.#next = 0;
    }
    scope.runInAsyncScope(task);
  };

  post(scope: AsyncResource, task: Task): void {
    this.#tasks.push(task);
    this.#scopes.push(scope);
    setImmediate(this.#run);
  }

  /** Before all that wait. */
  postFirst(scope: AsyncResource, task: Task): void {
    this.#urgent.push(task);
    this.#urgentScopes.push(scope);
    setImmediate(this.#run);
  }
}

const turns = new Turns();

let holders = 0;
let holding: NodeJS.Timeout | undefined;

/** Keeps the process until `release`. */
export function hold(): void {
  if (holders++ > 0) return;
  holding ??= setInterval(() => {}, 2 ** 31 - 1);
  holding.ref();
}

export function release(): void {
  if (--holders === 0) holding?.unref();
}

export abstract class Handle {
  readonly #scope: AsyncResource;
  #referenced = true;
  #holds = false;
  #closed = false;

  constructor(type: string) {
    this.#scope = new AsyncResource(type);
  }

  /** Whether anything can still happen to it by itself: then, if referenced, it keeps the process. */
  protected abstract get isActive(): boolean;

  get isClosed(): boolean {
    return this.#closed;
  }

  ref(): void {
    this.#referenced = true;
    this.updateHold();
  }

  unref(): void {
    this.#referenced = false;
    this.updateHold();
  }

  protected updateHold(): void {
    const holds = this.#referenced && !this.#closed && this.isActive;
    if (holds === this.#holds) return;
    this.#holds = holds;
    if (holds) hold();
    else release();
  }

  /** Runs `task` in a turn of its own. */
  protected post(task: Task): void {
    turns.post(this.#scope, task);
  }

  /** Runs `task` at once, in the context in which the handle was made. */
  protected inScope<T>(task: (argument: T) => void, argument: T): void {
    this.#scope.runInAsyncScope(task, undefined, argument);
  }

  /** As `post`, but before what waits: connections to accept come before news of those that are there. */
  protected postFirst(task: Task): void {
    turns.postFirst(this.#scope, task);
  }

  /** False if it was closed before. */
  protected markClosed(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.updateHold();
    return true;
  }
}
