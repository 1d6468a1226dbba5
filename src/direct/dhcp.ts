import { IpAddress, Prefix } from '../address/index.ts';
import {
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  DhcpClient,
  type DhcpLease,
  LINK_LOCAL_LENGTH,
  LinkLocalAddresses,
} from '../dhcp/index.ts';
import { NetError } from '../errors.ts';
import type { StackStatistics, UdpSocket } from '../stack.ts';
import type { Clock, Random, Timer, TimerWheel } from '../time/index.ts';
import type { UdpLayer } from '../udp/index.ts';
import type { Interface } from './interface.ts';

export interface DhcpOptions {
  /** Told to the server, as our name. */
  readonly hostname?: string;
  /** RFC 2132 §9.14: type and value; by default 1 and the MAC address. */
  readonly clientId?: Uint8Array;
  /** An address that we had before: asked for first, which saves a round trip (INIT-REBOOT). */
  readonly previousAddress?: string;
  /** Takes an address of 169.254/16 (RFC 3927) while no server answers. Default false. */
  readonly linkLocal?: boolean;
  /** When `ready()` rejects with `ETIMEDOUT`; the client goes on asking. Default 60,000. */
  readonly timeoutMs?: number;
  /** Told of every lease, of what changes when it is prolonged, and with null of its loss. */
  readonly onLease?: (lease: DhcpLease | null) => void;
}

export interface DhcpInterfaceOptions extends DhcpOptions {
  readonly network: Interface;
  readonly udp: UdpLayer;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
  /** In place of the router that the server tells. */
  readonly gateway: IpAddress | null;
  readonly probe: boolean;
}

const TIMEOUT_MS = 60_000;
const EVERYBODY = '255.255.255.255';
const DEFAULT_ROUTE = '0.0.0.0/0';
const LEAST_MTU = 576;
/** Unanswered DISCOVERs, of 4 and 8 seconds each, before there is taken to be no server. */
const LINK_LOCAL_AFTER = 2;
/** How long `stop` waits for the server's MAC address, so that the RELEASE leaves. */
const RELEASE_WAIT_MS = 500;
const RELEASE_POLL_MS = 5;

/** What the DHCP client decides, done to a network: its address, its routes, its datagrams. */
export class DhcpInterface {
  readonly client: DhcpClient;
  readonly #options: DhcpInterfaceOptions;
  readonly #timer: Timer;
  readonly #linkLocalTimer: Timer;
  readonly #linkLocal: LinkLocalAddresses | null;
  #linkLocalInUse = false;
  #socket: UdpSocket | null = null;
  /** Of the lease in use. */
  #routes: Prefix[] = [];
  /** Counts the addresses set, so that what comes of an earlier one is not taken for the present one's. */
  #turn = 0;
  #ready: { resolve(): void; reject(error: NetError): void } | null = null;

  constructor(options: DhcpInterfaceOptions) {
    this.#options = options;
    const { network, timers, random, linkLocal = false } = options;
    this.#timer = timers.timer(() => this.#step(() => this.client.timer(this.#now)));
    this.#linkLocalTimer = timers.timer(() => void this.#takeLinkLocal());
    this.#linkLocal = linkLocal ? new LinkLocalAddresses(network.netif.mac) : null;
    this.client = new DhcpClient({
      mac: network.netif.mac,
      random,
      ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
      ...(options.clientId === undefined ? {} : { clientId: options.clientId }),
      ...(options.previousAddress === undefined ? {} : { previous: options.previousAddress }),
      actions: {
        send: (message, to) => this.#send(message, to),
        claim: (lease) => void this.#claim(lease),
        renewed: (lease) => {
          this.#apply(lease);
          options.onLease?.(lease);
        },
        lost: () => this.#lost(),
        unanswered: (attempts) => this.#unanswered(attempts),
      },
    });
  }

  /** The lease that is in use; null without one. */
  get lease(): DhcpLease | null {
    const { state, lease } = this.client;
    return state === 'PROBING' ? null : lease;
  }

  /** Resolves when there is an address. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { clock, timeoutMs = TIMEOUT_MS } = this.#options;
      const alarm = clock.alarm(() => {
        this.#ready?.reject(
          new NetError('ETIMEDOUT', { syscall: 'dhcp', reason: `no lease within ${timeoutMs} ms` }),
        );
      });
      alarm.set(clock.now() + timeoutMs);
      const settle = <T>(done: (value: T) => void) => {
        return (value: T): void => {
          alarm.clear();
          this.#ready = null;
          done(value);
        };
      };
      this.#ready = { resolve: settle<void>(resolve), reject: settle<NetError>(reject) };
      try {
        this.#step(() => this.client.start(this.#now));
      } catch (error) {
        this.#ready.reject(error as NetError);
      }
    });
  }

  /** Another station uses our address, though we have defended it (RFC 5227 §2.4 (b)). */
  contested(): void {
    if (this.#linkLocalInUse) this.#leaveLinkLocal();
    else if (this.lease !== null) this.#step(() => this.client.conflict(this.#now));
  }

  /** Gives the lease back, and waits a moment for the message to leave. */
  async stop(): Promise<void> {
    this.#timer.cancel();
    this.#linkLocalTimer.cancel();
    this.#turn++;
    this.#ready?.reject(new NetError('ENETDOWN', { syscall: 'dhcp', reason: 'closed' }));
    const { lease } = this;
    this.client.stop();
    if (lease !== null) await this.#untilKnown(IpAddress.parse(lease.server));
    this.#closeSocket();
  }

  statistics(): StackStatistics {
    const { state, counters, expiresAt } = this.client;
    const { lease } = this;
    return {
      state,
      ...counters,
      ...(lease === null
        ? {}
        : {
            address: `${lease.address}/${lease.prefixLength}`,
            server: lease.server,
            leaseSeconds: lease.leaseSeconds,
            remainingSeconds: Math.max(0, Math.round((expiresAt - this.#now) / 1000)),
          }),
      ...(this.#linkLocalInUse ? { linkLocal: `${this.#linkLocal!.address}` } : {}),
    };
  }

  get #now(): number {
    return this.#options.clock.now();
  }

  /** Lets the client act, and sees to its timer and to its port, which is open as long as an answer may come. */
  #step(act: () => void): void {
    act();
    this.#timer.arm(this.client.wakeAt);
    if (this.client.state === 'BOUND') this.#closeSocket();
  }

  #send(message: Uint8Array, to: string | null): void {
    this.#socket ??= this.#open();
    // What cannot leave now is sent again by the client's timer.
    this.#socket.send(message, { host: to ?? EVERYBODY, port: DHCP_SERVER_PORT }).catch(() => {});
  }

  #open(): UdpSocket {
    const socket = this.#options.udp.bind({
      port: DHCP_CLIENT_PORT,
      broadcast: true,
      interface: this.#options.network.name,
    });
    void this.#receive(socket);
    return socket;
  }

  async #receive(socket: UdpSocket): Promise<void> {
    for (;;) {
      let datagram: Awaited<ReturnType<UdpSocket['receive']>>;
      try {
        datagram = await socket.receive();
      } catch {
        continue; // An ICMP error about a datagram of ours: the timer sees to it.
      }
      if (datagram === null) return;
      const { data, remote } = datagram;
      if (remote.port !== DHCP_SERVER_PORT || this.client.state === 'STOPPED') continue;
      this.#step(() => this.client.receive(data, this.#now));
    }
  }

  /** A socket keeps the source address that it began with, so each transaction has one of its own. */
  #closeSocket(): void {
    void this.#socket?.close();
    this.#socket = null;
  }

  async #claim(lease: DhcpLease): Promise<void> {
    const turn = this.#take();
    const { network, probe } = this.#options;
    const prefix = new Prefix(IpAddress.parse(lease.address), lease.prefixLength);
    try {
      await network.setAddress(prefix, null, probe);
    } catch {
      if (turn === this.#turn) this.#step(() => this.client.conflict(this.#now));
      return;
    }
    if (turn !== this.#turn) return;
    this.#apply(lease);
    this.#step(() => this.client.claimed(this.#now));
    this.#ready?.resolve();
    this.#options.onLease?.(lease);
  }

  #lost(): void {
    this.#take();
    void this.#options.network.setAddress(null);
    this.#closeSocket();
    this.#options.onLease?.(null);
  }

  /** Another address, or none, is about to be set. */
  #take(): number {
    this.#linkLocalTimer.cancel();
    this.#linkLocalInUse = false;
    this.#clearRoutes();
    this.#options.network.limitMtu(null);
    return ++this.#turn;
  }

  #apply(lease: DhcpLease): void {
    this.#setRoutes(lease);
    const { mtu } = lease;
    // Less than every host takes (RFC 1122 §3.3.2) is a mistake, or malice.
    this.#options.network.limitMtu(mtu !== null && mtu >= LEAST_MTU ? mtu : null);
  }

  #setRoutes(lease: DhcpLease): void {
    this.#clearRoutes();
    const { network, gateway } = this.#options;
    for (const route of lease.routes) {
      if (gateway === null || route.prefix !== DEFAULT_ROUTE) {
        this.#addRoute(route.prefix, route.gateway === null ? null : IpAddress.parse(route.gateway));
      }
    }
    if (gateway !== null) this.#addRoute(DEFAULT_ROUTE, gateway);
    // A server that tells a route to the link itself must not take it away with the lease's other routes.
    network.addRoute(new Prefix(IpAddress.parse(lease.address), lease.prefixLength), null);
  }

  #addRoute(text: string, gateway: IpAddress | null): void {
    const prefix = Prefix.parse(text);
    this.#options.network.addRoute(prefix, gateway);
    this.#routes.push(prefix);
  }

  #clearRoutes(): void {
    for (const prefix of this.#routes.splice(0)) this.#options.network.removeRoute(prefix);
  }

  #unanswered(attempts: number): void {
    if (attempts >= LINK_LOCAL_AFTER && this.#linkLocal !== null && !this.#linkLocalInUse) {
      void this.#takeLinkLocal();
    }
  }

  /** RFC 3927 §2.2: probes for the address, always; a lease that comes later replaces it. */
  async #takeLinkLocal(): Promise<void> {
    const { network } = this.#options;
    const turn = this.#take();
    this.#linkLocalInUse = true;
    try {
      await network.setAddress(new Prefix(this.#linkLocal!.address, LINK_LOCAL_LENGTH), null, true);
    } catch {
      if (turn === this.#turn) this.#leaveLinkLocal();
      return;
    }
    if (turn === this.#turn) this.#ready?.resolve();
  }

  #leaveLinkLocal(): void {
    const delayMs = this.#linkLocal!.conflict();
    void this.#options.network.setAddress(null);
    this.#linkLocalTimer.arm(this.#now + delayMs);
  }

  #untilKnown(server: IpAddress): Promise<void> {
    const { network, clock } = this.#options;
    const prefix = network.ipv4.address;
    if (prefix === null || !prefix.contains(server)) return Promise.resolve();
    const isKnown = (): boolean => (network.arp.cache.get(server.w3)?.mac ?? null) !== null;
    if (isKnown()) return Promise.resolve();
    return new Promise((resolve) => {
      const deadline = this.#now + RELEASE_WAIT_MS;
      const alarm = clock.alarm(() => {
        if (isKnown() || this.#now >= deadline) resolve();
        else alarm.set(this.#now + RELEASE_POLL_MS);
      });
      alarm.set(this.#now + RELEASE_POLL_MS);
    });
  }
}
