/** What an archive holds: a folder, a file, or a symbolic link. */
export type ArchiveEntry =
  | { readonly path: string; readonly kind: 'folder' }
  | { readonly path: string; readonly kind: 'file'; readonly data: Uint8Array; readonly executable?: boolean }
  | { readonly path: string; readonly kind: 'link'; readonly target: string };

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/**
 * An initramfs: a cpio archive in the "newc" format
 * (Documentation/driver-api/early-userspace/buffer-format.rst of Linux), owned by
 * root and without times, so that the same entries are the same bytes. Folders
 * that a path lies in are added where they are missing; the kernel makes none
 * by itself.
 *
 * @param entries paths without a leading slash
 * @returns pieces of the archive, in order
 */
export function archive(entries: Iterable<ArchiveEntry>): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const folders = new Set<string>();
  let inode = 0;
  const add = (path: string, mode: number, data: Uint8Array): void => {
    const name = Buffer.from(`${path}\0`);
    pieces.push(header(++inode, mode, data.length, name.length), name, padding(HEADER + name.length));
    if (data.length > 0) pieces.push(data, padding(data.length));
  };
  const addFolder = (path: string): void => {
    if (path === '' || path === '.' || folders.has(path)) return;
    addFolder(parentOf(path));
    folders.add(path);
    add(path, S_IFDIR | 0o755, EMPTY);
  };
  for (const entry of entries) {
    addFolder(parentOf(entry.path));
    switch (entry.kind) {
      case 'folder':
        addFolder(entry.path);
        break;
      case 'file':
        add(entry.path, S_IFREG | (entry.executable ? 0o755 : 0o644), entry.data);
        break;
      case 'link':
        add(entry.path, S_IFLNK | 0o777, Buffer.from(entry.target));
        break;
    }
  }
  inode = -1;
  add('TRAILER!!!', 0, EMPTY);
  return pieces;
}

const HEADER = 110;
const EMPTY = new Uint8Array(0);

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** "070701", then 13 numbers of 8 hexadecimal digits. */
function header(inode: number, mode: number, fileSize: number, nameSize: number): Uint8Array {
  const numbers = [inode, mode, 0, 0, 1, 0, fileSize, 0, 0, 0, 0, nameSize, 0];
  return Buffer.from(`070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}`);
}

/** Headers and data begin at multiples of four. */
function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3);
}
