import { SUM_WASM } from './sum-wasm.ts';

/** The part of the WebAssembly API that is used, which TypeScript's plain `es2023` library leaves out. */
interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (
    module: object,
  ) => { readonly exports: { readonly memory: { readonly buffer: ArrayBuffer }; readonly sum: SumFunction } };
}

/** A global object. */
interface Host {
  readonly WebAssembly?: WebAssemblyApi;
}

/** The folded sum of `[at, end)` of the module's memory. */
export type SumFunction = (at: number, end: number) => number;

export interface Simd {
  /** All of the module's memory, 1 MiB; it never grows, so the view stays valid. */
  readonly memory: Uint8Array;
  readonly sum: SumFunction;
}

/** The SIMD sum, or null where the host has no WebAssembly, or none with SIMD. */
export function loadSimd(host: Host = globalThis as Host): Simd | null {
  const api = host.WebAssembly;
  if (api === undefined) return null;
  try {
    const bytes = Uint8Array.from(atob(SUM_WASM), (character) => character.charCodeAt(0));
    const { memory, sum } = new api.Instance(new api.Module(bytes)).exports;
    return { memory: new Uint8Array(memory.buffer), sum };
  } catch {
    // An engine without SIMD refuses the module; a page may also forbid WebAssembly (CSP).
    return null;
  }
}
