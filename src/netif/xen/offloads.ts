import type { Offloads } from '../netif.ts';
import { MAX_PACKET } from './wire.ts';

/** What an end tells the other one of its offloads, and whether it does the same in software. */
export interface RingOffloads {
  readonly checksum: boolean;
  readonly segmentation: boolean;
  /**
   * Ordinary frames on the rings, with all their checksums, and large ones for the stack: they are
   * put together and cut apart here. With neither of the others.
   */
  readonly software: boolean;
}

/** What that means for a ring that is received from. */
export interface ReceivePromises {
  readonly checksum: boolean;
  readonly segmentation: boolean;
  /** Ordinary frames go up as large ones. */
  readonly coalesce: boolean;
  /** Longest frame that comes. */
  readonly longest: number;
}

/** What the stack may leave to a ring that does it in software. */
const IN_SOFTWARE: Offloads = { checksum: 'partial', segmentation: MAX_PACKET };

/** What the stack has of the device as a device, or in software. */
export function stackOffloads(checksum: boolean, segmentation: boolean, software: boolean): Offloads {
  if (software) return IN_SOFTWARE;
  return { checksum: checksum ? 'partial' : 'none', segmentation: segmentation ? MAX_PACKET : 0 };
}
