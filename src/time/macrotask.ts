interface PortLike {
  postMessage(message: null): void;
  onmessage: ((event: unknown) => void) | null;
}

interface Host {
  setImmediate?: (task: () => void) => unknown;
  MessageChannel?: new () => { port1: PortLike; port2: PortLike };
}

const host = globalThis as unknown as Host;

/**
 * Runs `task` in a turn of the event loop of its own: after all microtasks,
 * in the order of the calls, without `setTimeout`'s millisecond.
 */
export const macrotask: (task: () => void) => void = byImmediate() ?? byMessage() ?? byTimeout;

function byImmediate(): ((task: () => void) => void) | undefined {
  const immediate = host.setImmediate;
  return immediate && ((task) => void immediate(task));
}

function byMessage(): ((task: () => void) => void) | undefined {
  const Channel = host.MessageChannel;
  if (Channel === undefined) return undefined;
  const { port1, port2 } = new Channel();
  const tasks: (() => void)[] = [];
  port2.onmessage = () => tasks.shift()?.();
  return (task) => {
    tasks.push(task);
    port1.postMessage(null);
  };
}

function byTimeout(task: () => void): void {
  setTimeout(task, 0);
}
