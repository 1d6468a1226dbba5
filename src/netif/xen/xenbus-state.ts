import type { Xenstore, XenstoreAccess } from './hypervisor.ts';

/** `enum xenbus_state` of io/xenbus.h. */
export const XenbusState = {
  /** There is no such node: the device is gone. */
  Unknown: 0,
  Initialising: 1,
  /** The backend waits for the frontend's rings. */
  InitWait: 2,
  /** The frontend has published its rings. */
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
} as const;

export type XenbusState = (typeof XenbusState)[keyof typeof XenbusState];

/** The state that stands in `folder`; `Unknown` where there is none, or nonsense. */
export async function readState(store: XenstoreAccess, folder: string): Promise<XenbusState> {
  return parseState(await store.read(`${folder}/state`));
}

export function parseState(text: string | null): XenbusState {
  return text !== null && /^[0-8]$/.test(text) ? (Number(text) as XenbusState) : XenbusState.Unknown;
}

/**
 * As a part of a transaction: writes the state, unless the device is gone. A
 * folder that a toolstack has removed must not come to life again (Linux has
 * the same rule).
 */
export async function writeState(access: XenstoreAccess, folder: string, state: XenbusState): Promise<void> {
  if ((await access.read(`${folder}/state`)) === null) return;
  await access.write(`${folder}/state`, String(state));
}

/** {@link writeState} as a transaction of its own. */
export function switchState(store: Xenstore, folder: string, state: XenbusState): Promise<void> {
  return store.transaction((access) => writeState(access, folder, state));
}

/** `Connected` for 4. */
export function stateName(state: XenbusState): string {
  return Object.keys(XenbusState).find((name) => XenbusState[name as keyof typeof XenbusState] === state)!;
}
