import { allocateNative, Descriptor, Errno, type Mapping } from '../../../native/index.ts';
import {
  type DomainId,
  type GrantCopier,
  type Grants,
  type LocalMemory,
  type MappedPages,
  PAGE_SIZE,
  type SharedPages,
} from '../hypervisor.ts';
import { LinuxGrantCopier } from './copier.ts';
import { deviceReasons } from './device.ts';
import { GNTALLOC_ALLOC, GNTALLOC_DEALLOC, GNTALLOC_WRITABLE, GNTDEV_MAP, GNTDEV_UNMAP } from './ioctl.ts';

const GNTALLOC = '/dev/xen/gntalloc';
const GNTDEV = '/dev/xen/gntdev';

const ALLOC_REASONS: Partial<Record<number, string>> = {
  [Errno.ENOSPC]:
    'no grants left: more pages than the limit of the module xen-gntalloc (/sys/module/xen_gntalloc/parameters/limit) or than the grant table holds',
};

/** A frontend needs gntalloc, a backend gntdev: each is opened when it is first used. */
export class LinuxGrants implements Grants {
  #allocator: Descriptor | null = null;
  #mapper: Descriptor | null = null;

  share(domain: DomainId, pages: number, writable: boolean): SharedPages {
    this.#allocator ??= Descriptor.open(GNTALLOC, deviceReasons('xen-gntalloc'));
    const device = this.#allocator;
    const request = Buffer.alloc(16 + 4 * Math.max(pages, 2));
    request.writeUInt16LE(domain, 0);
    request.writeUInt16LE(writable ? GNTALLOC_WRITABLE : 0, 2);
    request.writeUInt32LE(pages, 4);
    device.ioctl(GNTALLOC_ALLOC, request, 'GNTALLOC_ALLOC_GREF', ALLOC_REASONS);
    const release = (): void => {
      device.ioctl(GNTALLOC_DEALLOC, releaseRequest(request, pages), 'GNTALLOC_DEALLOC_GREF');
    };
    const mapping = mapOr(release, () => device.map(pages * PAGE_SIZE, indexOf(request), GNTALLOC));
    const references = Array.from({ length: pages }, (_, page) => request.readUInt32LE(16 + 4 * page));
    return { bytes: mapping.bytes, references, end: once(mapping, release) };
  }

  map(domain: DomainId, references: readonly number[]): MappedPages {
    const device = this.#openMapper();
    const count = references.length;
    const request = Buffer.alloc(16 + 8 * count);
    request.writeUInt32LE(count, 0);
    for (const [index, reference] of references.entries()) {
      request.writeUInt32LE(domain, 16 + 8 * index);
      request.writeUInt32LE(reference, 20 + 8 * index);
    }
    device.ioctl(GNTDEV_MAP, request, 'GNTDEV_MAP_GRANT_REF');
    const release = (): void => {
      device.ioctl(GNTDEV_UNMAP, releaseRequest(request, count), 'GNTDEV_UNMAP_GRANT_REF');
    };
    // Only now is Xen asked whether these are grants to this domain.
    const mapping = mapOr(release, () =>
      device.map(count * PAGE_SIZE, indexOf(request), GNTDEV, {
        [Errno.EINVAL]: `domain ${domain} has not granted ${references.join(', ')} to this one`,
      }),
    );
    return { bytes: mapping.bytes, unmap: once(mapping, release) };
  }

  localMemory(size: number): LocalMemory {
    return allocateNative(size);
  }

  copier(domain: DomainId, segments: number): GrantCopier {
    return new LinuxGrantCopier(this.#openMapper(), domain, segments);
  }

  close(): void {
    this.#allocator?.close();
    this.#mapper?.close();
  }

  #openMapper(): Descriptor {
    this.#mapper ??= Descriptor.open(GNTDEV, deviceReasons('xen-gntdev'));
    return this.#mapper;
  }
}

function indexOf(request: Buffer): number {
  return Number(request.readBigUInt64LE(8));
}

/** The index that the device gave, then the count. */
function releaseRequest(request: Buffer, count: number): Buffer {
  const release = Buffer.alloc(16);
  request.copy(release, 0, 8, 16);
  release.writeUInt32LE(count, 8);
  return release;
}

function mapOr(release: () => void, map: () => Mapping): Mapping {
  try {
    return map();
  } catch (error) {
    release();
    throw error;
  }
}

/** The devices let go of pages when both are done: the memory unmapped, and the request undone. */
function once(mapping: Mapping, release: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    mapping.unmap();
    release();
  };
}
