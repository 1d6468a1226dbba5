import type { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import { resolveConfig, type TcpConfig, type TcpOptions } from './config.ts';
import { Connection } from './connection.ts';
import { type EndpointTable, kept } from './demux.ts';
import { open } from './handshake.ts';
import type { PassiveHost } from './passive.ts';
import { checkPort, type EphemeralPorts } from './ports.ts';
import { advance } from './sequence.ts';
import { TimeWait } from './timewait.ts';

export interface TcpConnectOptions {
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly local?: IpAddress;
  readonly localPort?: number;
  /** First bytes to send; with Fast Open they go with the SYN. Kept by reference. */
  readonly data?: Uint8Array;
  readonly options?: TcpOptions;
}

/** What active opens need of the layer. */
export interface ActiveHost extends PassiveHost {
  readonly config: TcpConfig;
  /** A new connection takes its place. */
  endTimeWait(timeWait: TimeWait): void;
}

/** Opens connections: chooses the local end, and the number that they begin with. */
export class ActiveOpens {
  readonly #host: ActiveHost;
  readonly #table: EndpointTable;
  readonly #ports: EphemeralPorts;

  constructor(host: ActiveHost, table: EndpointTable, ports: EphemeralPorts) {
    this.#host = host;
    this.#table = table;
    this.#ports = ports;
  }

  /**
   * An active open: the SYN goes out at the end of this turn. Throws what the
   * network layer throws for a destination, and `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL`.
   */
  open(options: TcpConnectOptions): Connection {
    const { remote, remotePort } = options;
    checkPort(remotePort, 1, 'connect');
    const host = this.#host;
    const { ip } = host;
    if (remote.isMulticast || ip.isBroadcast(remote)) {
      throw new NetError('ENETUNREACH', { syscall: 'connect', address: remote.toString(), port: remotePort });
    }
    const path = ip.path(remote, options.local);
    const local = path.source;
    const localPort = this.#localPort(local, options.localPort ?? 0, remote, remotePort);
    const previous = this.#table.find(local, localPort, remote, remotePort);
    host.touch();
    const tuple = {
      path,
      local: kept(local, path.source),
      localPort,
      remote: kept(remote, path.destination),
      remotePort,
    };
    const connection = new Connection(host, resolveConfig(host.config, options.options ?? {}), tuple);
    const generated = host.sequences.generate(local, localPort, remote, remotePort, host.now);
    const { timestampOffset } = generated;
    let { isn } = generated;
    if (previous instanceof TimeWait) {
      // A connection that was faster than the ISN's clock has left it behind.
      if (!previous.allows(isn)) isn = advance(previous.sendNext, 0x20000);
      host.endTimeWait(previous);
    }
    host.add(connection);
    host.counters.activeOpens++;
    if (options.data !== undefined) connection.sender.queue.push(options.data);
    open(connection, isn, timestampOffset);
    return connection;
  }

  #localPort(local: IpAddress, asked: number, remote: IpAddress, remotePort: number): number {
    const isFree = (port: number): boolean => {
      const other = this.#table.find(local, port, remote, remotePort);
      return other === null;
    };
    if (asked !== 0) {
      checkPort(asked, 1, 'connect');
      const other = this.#table.find(local, asked, remote, remotePort);
      // A port that was asked for by number may leave TIME-WAIT: our ISN will be above the old numbers.
      if (other !== null && !(other instanceof TimeWait)) {
        throw new NetError('EADDRINUSE', { syscall: 'connect', address: local.toString(), port: asked });
      }
      return asked;
    }
    const port = this.#ports.choose(isFree);
    if (port === 0) {
      throw new NetError('EADDRNOTAVAIL', {
        syscall: 'connect',
        address: remote.toString(),
        port: remotePort,
        reason: 'every ephemeral port is in use toward this destination',
      });
    }
    return port;
  }
}
