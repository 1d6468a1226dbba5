import { MacAddress } from '../../address/index.ts';
import { NetError } from '../../errors.ts';
import { type Clock, CryptoRandom, RealClock } from '../../time/index.ts';
import { LONGEST } from './framing.ts';
import { StreamNetif } from './netif.ts';
import {
  addressText,
  ConnectingSource,
  ListeningSource,
  type ReconnectOptions,
  type StreamAddress,
} from './peers.ts';

export interface StreamOptions {
  /** Path of a UNIX socket. */
  readonly path?: string;
  /** In place of `path`: a TCP address. With `listen`, port 0 takes a free one. */
  readonly host?: string;
  readonly port?: number;
  /** Waits for peers, one at a time, in place of connecting to one. Default false. */
  readonly listen?: boolean;
  /**
   * When connecting: how to go on while nobody listens and after the peer is gone;
   * false ends the netif with an error then. Default: after 100 ms, doubled up to 5 s,
   * for ever. A listening netif always waits for the next peer.
   */
  readonly reconnect?: ReconnectOptions | false;
  /** Address of the stack's end. Default: a random, locally administered one. */
  readonly mac?: MacAddress | string;
  /** Largest IP packet in bytes. Default 1500. */
  readonly mtu?: number;
  /** Told when there is a peer (true), and when there is none any more. */
  readonly onLink?: (up: boolean) => void;
  /** The host's clock unless given. */
  readonly clock?: Clock;
}

const DEFAULT_MTU = 1500;
const SMALLEST_MTU = 68;
/** An Ethernet header with a tag fits the longest frame too. */
const LARGEST_MTU = LONGEST - 18;

/**
 * A network interface over a UNIX or TCP socket that carries frames behind
 * their lengths, as QEMU's `-netdev stream` and passt do.
 *
 * Resolves when it listens; at once where it connects, since the peer may come
 * later. Rejects with `EINVAL` for options that cannot be, `EADDRINUSE`,
 * `EACCES` and the like where it cannot listen.
 */
export async function openStream(options: StreamOptions): Promise<StreamNetif> {
  const address = addressOf(options);
  const { mtu = DEFAULT_MTU, listen = false, reconnect, clock = new RealClock() } = options;
  if (!Number.isInteger(mtu) || mtu < SMALLEST_MTU || mtu > LARGEST_MTU) {
    throw invalid(`mtu ${mtu} is not an integer within ${SMALLEST_MTU}..${LARGEST_MTU}`);
  }
  if (listen && reconnect !== undefined) throw invalid('reconnect is for a netif that connects');
  const netif = new StreamNetif({
    name: `stream:${addressText(address)}`,
    mac: macOf(options.mac),
    mtu,
    clock,
    onLink: options.onLink ?? (() => {}),
  });
  if (listen) netif.use(await ListeningSource.open(netif, address));
  else netif.use(new ConnectingSource(netif, address, reconnect === false ? null : (reconnect ?? {}), clock));
  return netif;
}

function addressOf({ path, host, port }: StreamOptions): StreamAddress {
  if (path !== undefined && (host !== undefined || port !== undefined)) {
    throw invalid('give path, or host and port');
  }
  if (path !== undefined) return { path };
  if (host === undefined || port === undefined) throw invalid('give path, or host and port');
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw invalid(`port ${port} is not within 0..65535`);
  return { host, port };
}

function macOf(mac: MacAddress | string | undefined): MacAddress {
  if (mac === undefined) return MacAddress.local(new CryptoRandom().next32());
  const parsed = typeof mac === 'string' ? MacAddress.parse(mac) : mac;
  if (parsed.isGroup) throw invalid(`mac ${parsed} is a group's, not one station's`);
  return parsed;
}

function invalid(reason: string): NetError {
  return new NetError('EINVAL', { syscall: 'openStream', reason });
}
