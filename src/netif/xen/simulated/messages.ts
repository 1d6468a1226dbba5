import type { MessagePort } from 'node:worker_threads';
import type { DomainId } from '../hypervisor.ts';

/** What a thread needs to take part in a machine of another: structured-cloneable, its port to be transferred. */
export interface MachineTicket {
  readonly domain: DomainId;
  readonly buffer: SharedArrayBuffer;
  readonly pages: number;
  readonly port: MessagePort;
}

/** From a domain in another thread to the machine. Answers carry the `call` number. */
export type ToMachine =
  | { readonly kind: 'wake'; readonly domain: DomainId; readonly port: number }
  | { readonly kind: 'close' }
  | {
      readonly kind: 'store';
      readonly call: number;
      /** Of a transaction, or 0. */
      readonly transaction: number;
      readonly method: 'read' | 'list' | 'write' | 'makeDirectory' | 'remove' | 'setPermissions';
      readonly path: string;
      readonly argument: string | readonly string[] | null;
    }
  | { readonly kind: 'begin'; readonly call: number }
  | { readonly kind: 'end'; readonly call: number; readonly transaction: number; readonly commit: boolean }
  | { readonly kind: 'watch'; readonly call: number; readonly watch: number; readonly path: string }
  | { readonly kind: 'unwatch'; readonly call: number; readonly watch: number };

/** From the machine to a domain in another thread. */
export type FromMachine =
  | { readonly kind: 'wake'; readonly port: number }
  | {
      readonly kind: 'answer';
      readonly call: number;
      readonly value: string | string[] | number | boolean | null;
    }
  | { readonly kind: 'failure'; readonly call: number; readonly code: string; readonly message: string }
  | { readonly kind: 'changed'; readonly watch: number; readonly path: string };
