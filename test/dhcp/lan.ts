import { DhcpServer, type DhcpServerOptions } from '../../src/dhcp/index.ts';
import { type DhcpOptions, DirectStack, type DirectStackOptions } from '../../src/direct/index.ts';
import { type Netif, Switch } from '../../src/netif/index.ts';
import { runVirtual, SeededRandom, VirtualClock } from '../../src/time/index.ts';

export const SERVER = '10.0.0.1';

/** Hosts on one switch, and virtual time. */
export class Lan {
  readonly clock = new VirtualClock();
  readonly switch = new Switch({ clock: this.clock });
  readonly #stacks: DirectStack[] = [];
  readonly #seed: number;

  constructor(seed = 1) {
    this.#seed = seed;
  }

  run<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    return runVirtual(this.clock, promise, limitMs);
  }

  /** A stack that is ready. */
  async host(ipv4: string, options: Partial<DirectStackOptions> = {}): Promise<DirectStack> {
    const stack = this.stack({ ipv4, ...options });
    await this.run(stack.ready());
    return stack;
  }

  /** A stack that is not started. */
  stack(options: Partial<DirectStackOptions>, netif: Netif = this.switch.port()): DirectStack {
    const random = new SeededRandom(this.#seed * 1000 + this.#stacks.length);
    const stack = new DirectStack({ netif, ipv4: 'dhcp', clock: this.clock, random, ...options });
    this.#stacks.push(stack);
    return stack;
  }

  /** A host with a DHCP server. */
  async server(options: Partial<DhcpServerOptions> = {}, address = `${SERVER}/24`): Promise<DhcpServer> {
    const stack = await this.host(address);
    const server = new DhcpServer({
      udp: stack.udp,
      clock: this.clock,
      address,
      range: ['10.0.0.100', '10.0.0.199'],
      ...options,
    });
    await this.run(server.start());
    return server;
  }

  client(dhcp: DhcpOptions = {}, options: Partial<DirectStackOptions> = {}): DirectStack {
    return this.stack({ dhcp, ...options });
  }

  async close(): Promise<void> {
    await this.run(Promise.all(this.#stacks.map((stack) => stack.close())));
  }
}

export function dhcpOf(stack: DirectStack): Record<string, number | string> {
  return stack.statistics().dhcp as Record<string, number | string>;
}
