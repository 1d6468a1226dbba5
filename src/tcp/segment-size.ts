/** How many bytes go at once (RFC 9293 §3.7.1, RFC 6691): by path, peer, options, and what the device cuts. */
import { ETHERNET_HEADER } from '../netif/netif.ts';
import type { Connection } from './connection.ts';
import * as options from './options.ts';
import { markOversizedLost } from './repair.ts';
import { HEADER } from './wire.ts';

/** Payload bytes per segment, after the path MTU, the peer's MSS and the options that go with data now. */
export function sizeSegments(connection: Connection): void {
  const { path, awake } = connection;
  const { receiver, sender } = awake;
  const optionBytes =
    (awake.timestamps ? options.TIMESTAMPS_LENGTH : 0) +
    (awake.selective ? options.sackLength(receiver.sackBlocks(awake.timestamps)) : 0);
  const { pathProbe } = sender;
  const mtu = connection.pathMtu;
  if (pathProbe !== null) {
    // Whatever the path takes, the peer takes no more than it announced.
    const allowed = Math.min(awake.peerMss, connection.config.maxSegment) + path.headerLength + HEADER;
    const wanted = pathProbe.wanted(Math.min(path.mtu, allowed), connection.host.now);
    sender.pathProbeLength = wanted === 0 ? 0 : wanted - path.headerLength - HEADER - optionBytes;
  }
  if (mtu === awake.sizedMtu && optionBytes === awake.sizedOptions) return;
  const hasShrunk = mtu < awake.sizedMtu;
  awake.sizedMtu = mtu;
  awake.sizedOptions = optionBytes;
  const most = Math.min(awake.peerMss, mtu - path.headerLength - HEADER, connection.config.maxSegment);
  sender.segment = Math.max(1, most - optionBytes);
  sender.congestion.segment = sender.segment;
  const { segmentation } = path.transmit;
  const room = Math.min(segmentation - ETHERNET_HEADER, 0xffff) - path.headerLength - HEADER - optionBytes;
  sender.largeSegment = segmentation > 0 ? room - (room % sender.segment) : 0;
  if (hasShrunk) markOversizedLost(sender);
}
