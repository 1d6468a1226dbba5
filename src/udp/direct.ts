import { IpAddress } from '../address/index.ts';
import { NetError } from '../errors.ts';
import type { Udp, UdpBindOptions, UdpSocket } from '../stack.ts';
import { inCall } from './errors.ts';
import type { Resolve } from './socket.ts';
import type { UdpLayer } from './udp.ts';

/** A stack's `udp`: the layer, with names as well as addresses. */
export class DirectUdp implements Udp {
  readonly #layer: UdpLayer;
  readonly #resolve: Resolve;

  constructor(layer: UdpLayer, resolve: Resolve) {
    this.#layer = layer;
    this.#resolve = resolve;
  }

  async bind(options: UdpBindOptions = {}): Promise<UdpSocket> {
    const { host } = options;
    if (host === undefined || IpAddress.tryParse(host) !== null) {
      return this.#layer.bind(options, this.#resolve);
    }
    try {
      const [address] = await this.#resolve(host);
      if (address === undefined) throw new NetError('ENOTFOUND');
      return this.#layer.bind({ ...options, host: address }, this.#resolve);
    } catch (error) {
      throw inCall(error, 'bind', host, options.port);
    }
  }
}
