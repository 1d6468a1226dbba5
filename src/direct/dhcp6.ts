import { Dhcp6Client, type Dhcp6Configuration } from '../dhcp/index.ts';
import type { StackStatistics, UdpSocket } from '../stack.ts';
import type { Clock, Random, Timer, TimerWheel } from '../time/index.ts';
import type { UdpLayer } from '../udp/index.ts';
import type { Interface } from './interface.ts';

/** RFC 8415 §7.1, §7.2. */
const ALL_SERVERS = 'ff02::1:2';
const CLIENT_PORT = 546;
const SERVER_PORT = 547;

export interface Dhcp6InterfaceOptions {
  readonly network: Interface;
  readonly udp: UdpLayer;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly random: Random;
}

/** Asks a DHCPv6 server for DNS servers and search list, when a router says that there is one (RFC 4861 §4.2: O, M). */
export class Dhcp6Interface {
  readonly #options: Dhcp6InterfaceOptions;
  readonly #client: Dhcp6Client;
  readonly #timer: Timer;
  #socket: UdpSocket | null = null;

  constructor(options: Dhcp6InterfaceOptions) {
    this.#options = options;
    const { network, clock, timers, random } = options;
    this.#timer = timers.timer(() => this.#step(() => this.#client.timer(clock.now())));
    this.#client = new Dhcp6Client({
      mac: network.netif.mac,
      random,
      send: (message) => this.#send(message),
    });
    const autoconf = network.ipv6?.autoconf ?? null;
    if (autoconf !== null) autoconf.onOtherConfiguration = () => this.#begin();
  }

  get configuration(): Dhcp6Configuration | null {
    return this.#client.configuration;
  }

  async stop(): Promise<void> {
    this.#timer.cancel();
    this.#client.stop();
    await this.#closeSocket();
  }

  statistics(): StackStatistics {
    const { state, counters, configuration } = this.#client;
    return { state, ...counters, dns: configuration?.dns.join(' ') ?? '' };
  }

  #begin(): void {
    this.#step(() => this.#client.start(this.#options.clock.now()));
  }

  #step(act: () => void): void {
    act();
    this.#timer.arm(this.#client.wakeAt);
    if (this.#client.state === 'CONFIGURED') void this.#closeSocket();
  }

  #send(message: Uint8Array): void {
    this.#socket ??= this.#open();
    // What cannot leave now is sent again by the client's timer.
    this.#socket.send(message, { host: ALL_SERVERS, port: SERVER_PORT }).catch(() => {});
  }

  #open(): UdpSocket {
    const { udp, network } = this.#options;
    const socket = udp.bind({ host: '::', port: CLIENT_PORT, interface: network.name });
    void this.#receive(socket);
    return socket;
  }

  async #receive(socket: UdpSocket): Promise<void> {
    for await (const { data, remote } of socket) {
      if (remote.port !== SERVER_PORT) continue;
      this.#step(() => this.#client.receive(data, this.#options.clock.now()));
    }
  }

  async #closeSocket(): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    await socket?.close();
  }
}
