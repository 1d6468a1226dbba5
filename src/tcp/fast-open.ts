import { sha256 } from '@noble/hashes/sha2.js';
import type { IpAddress } from '../address/index.ts';
import { set32 } from '../bytes/index.ts';
import type { Random } from '../time/random.ts';

/** RFC 7413 §4.1.1 allows 4 to 16 bytes. */
const COOKIE_LENGTH = 8;
const KEY_LENGTH = 16;
const MAX_PEERS = 512;

/** What a client remembers of a server (RFC 7413 §4.1.3). */
export interface FastOpenPeer {
  readonly cookie: Uint8Array;
  readonly mss: number;
}

/**
 * The cookies of TCP Fast Open (RFC 7413): those we give to clients, a keyed hash
 * of their address, and those that servers have given to us.
 */
export class FastOpenCookies {
  readonly #input = new Uint8Array(16 + KEY_LENGTH);
  /** By server address, least recently used first. */
  readonly #peers = new Map<string, FastOpenPeer>();

  constructor(random: Random) {
    for (let i = 0; i < KEY_LENGTH; i += 4) set32(this.#input, 16 + i, random.next32());
  }

  /** The cookie of a client. */
  make(client: IpAddress): Uint8Array {
    client.writeIpv6(this.#input, 0);
    return sha256(this.#input).subarray(0, COOKIE_LENGTH);
  }

  /** Whether `bytes[start..end)` is the cookie of `client`. */
  check(client: IpAddress, bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start !== COOKIE_LENGTH) return false;
    const cookie = this.make(client);
    let difference = 0;
    for (let i = 0; i < COOKIE_LENGTH; i++) difference |= cookie[i]! ^ bytes[start + i]!;
    return difference === 0;
  }

  remember(server: IpAddress, cookie: Uint8Array, mss: number): void {
    const key = server.toString();
    this.#peers.delete(key);
    this.#peers.set(key, { cookie, mss });
    if (this.#peers.size > MAX_PEERS) this.#peers.delete(this.#peers.keys().next().value!);
  }

  /** What is known of a server, or null. */
  recall(server: IpAddress): FastOpenPeer | null {
    const key = server.toString();
    const peer = this.#peers.get(key);
    if (peer === undefined) return null;
    this.#peers.delete(key);
    this.#peers.set(key, peer);
    return peer;
  }

  /** A SYN with data and this server's cookie got lost: it goes without from now on (RFC 7413 §4.2.1). */
  forget(server: IpAddress): void {
    this.#peers.delete(server.toString());
  }
}
