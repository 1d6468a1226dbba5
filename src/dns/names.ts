import type { IpAddress } from '../address/index.ts';
import type { Random } from '../time/index.ts';

/** RFC 1035 §2.3.4. */
const MAX_NAME = 253;
const LABEL = /^[\w-]{1,63}$/;

/** Lower case, without the root's dot; null for what no host can be called (RFC 1123 §2.1, and `_` as in `_http._tcp`). */
export function normalize(name: string): string | null {
  const bare = name.toLowerCase().replace(/\.$/, '');
  if (bare.length > MAX_NAME) return null;
  return bare.split('.').every((label) => LABEL.test(label)) ? bare : null;
}

/**
 * The names to ask for, in order: as a resolver with `ndots:1` does, a name with a
 * dot as it is first, one without with the search list first; with a dot at the end
 * as it is only.
 */
export function candidates(name: string, search: readonly string[]): string[] {
  const bare = normalize(name);
  if (bare === null) return [];
  if (name.endsWith('.')) return [bare];
  const searched = search
    .map((domain) => normalize(`${bare}.${domain}`))
    .filter((candidate) => candidate !== null);
  const all = bare.includes('.') ? [bare, ...searched] : [...searched, bare];
  return [...new Set(all)];
}

/**
 * `name` with letters in random case, which the answer must repeat: bits that
 * who guesses has to guess too (draft-vixie-dnsext-dns0x20).
 */
export function mixCase(name: string, random: Random): string {
  let mixed = '';
  let bits = 0;
  let left = 0;
  for (const letter of name) {
    if (left === 0) {
      bits = random.next32();
      left = 32;
    }
    mixed += (bits & 1) === 0 ? letter : letter.toUpperCase();
    bits >>>= 1;
    left--;
  }
  return mixed;
}

/** Whether `name` is `zone` or below it; both in lower case, `.` for the root. */
export function isWithin(name: string, zone: string): boolean {
  return zone === '.' || name === zone || name.endsWith(`.${zone}`);
}

/** The name under which the DNS knows an address's name (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: IpAddress): string {
  if (address.isIpv4) return `${address.toString().split('.').reverse().join('.')}.in-addr.arpa`;
  const bytes = new Uint8Array(16);
  address.writeIpv6(bytes, 0);
  const nibbles = [...bytes].flatMap((byte) => [byte >>> 4, byte & 15]);
  return `${nibbles
    .reverse()
    .map((nibble) => nibble.toString(16))
    .join('.')}.ip6.arpa`;
}
