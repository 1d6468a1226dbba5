import { NetError } from '../../../errors.ts';
import type { DomainId } from '../hypervisor.ts';

/** Longest path and value that the real one takes (XENSTORE_ABS_PATH_MAX, XENSTORE_PAYLOAD_MAX). */
const MAX_PATH = 3072;
const MAX_VALUE = 4096;

interface Node {
  value: string;
  /** Owner and default first: `n0`, then single domains. */
  permissions: readonly string[];
  readonly children: Set<string>;
  /** Of the last change of the node itself or of its list of children. */
  generation: number;
}

/** What was done to which node; `above` if the watches below it see it too. */
export interface Change {
  readonly path: string;
  readonly removed: boolean;
}

/** One operation, as it is done again when a transaction ends. */
export type Operation =
  | { readonly kind: 'write'; readonly path: string; readonly value: string | null }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'permissions'; readonly path: string; readonly permissions: readonly string[] };

/**
 * The nodes of a xenstore. Paths are absolute. Domain 0 may do everything,
 * others what a node's permissions say; a new node gets those of its parent,
 * with its maker as the owner.
 */
export class Tree {
  readonly #nodes: Map<string, Node>;
  #generation: number;
  /** In a copy that a transaction works on: which nodes it has looked at or changed, and whether they were there at first. */
  readonly #touched: Map<string, boolean> | null;

  private constructor(nodes: Map<string, Node>, generation: number, touched: Map<string, boolean> | null) {
    this.#nodes = nodes;
    this.#generation = generation;
    this.#touched = touched;
  }

  static empty(): Tree {
    const root: Node = { value: '', permissions: ['n0'], children: new Set(), generation: 0 };
    return new Tree(new Map([['/', root]]), 0, null);
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** A copy that notes what is touched. */
  fork(): Tree {
    const nodes = new Map<string, Node>();
    for (const [path, node] of this.#nodes) nodes.set(path, { ...node, children: new Set(node.children) });
    return new Tree(nodes, this.#generation, new Map());
  }

  /** Whether nothing that `fork` touched has changed here since it was made. */
  agrees(fork: Tree, since: number): boolean {
    for (const [path, existed] of fork.#touched!) {
      const node = this.#nodes.get(path);
      if (node === undefined ? existed : node.generation > since) return false;
    }
    return true;
  }

  get generation(): number {
    return this.#generation;
  }

  read(path: string, as: DomainId): string | null {
    const node = this.#look(path);
    if (node === undefined) return null;
    this.#check(node, path, as, 'r');
    return node.value;
  }

  list(path: string, as: DomainId): string[] | null {
    const node = this.#look(path);
    if (node === undefined) return null;
    this.#check(node, path, as, 'r');
    return [...node.children];
  }

  apply(operation: Operation, as: DomainId): Change[] {
    const { path } = operation;
    switch (operation.kind) {
      case 'write':
        return this.#write(path, operation.value, as);
      case 'remove':
        return this.#remove(path, as);
      case 'permissions':
        return this.#setPermissions(path, operation.permissions, as);
    }
  }

  /** A null value makes the node and leaves what is there. */
  #write(path: string, value: string | null, as: DomainId): Change[] {
    if (value !== null && value.length > MAX_VALUE) throw refused('ENOSPC', path, 'the value is too long');
    const found = this.#look(path);
    if (found !== undefined) {
      if (value === null) return [];
      this.#check(found, path, as, 'w');
      found.value = value;
      found.generation = ++this.#generation;
      return [{ path, removed: false }];
    }
    this.#make(path, as).value = value ?? '';
    return [{ path, removed: false }];
  }

  #make(path: string, as: DomainId): Node {
    const parentPath = parentOf(path);
    const parent = this.#look(parentPath) ?? this.#make(parentPath, as);
    this.#check(parent, parentPath, as, 'w');
    const [own, ...others] = parent.permissions;
    const permissions = as === 0 ? parent.permissions : [`${own![0]}${as}`, ...others];
    const node: Node = { value: '', permissions, children: new Set(), generation: ++this.#generation };
    this.#touch(path);
    this.#nodes.set(path, node);
    parent.children.add(path.slice(path.lastIndexOf('/') + 1));
    parent.generation = this.#generation;
    return node;
  }

  #remove(path: string, as: DomainId): Change[] {
    const node = this.#look(path);
    if (node === undefined) return [];
    if (path === '/') throw refused('EINVAL', path, 'the root stays');
    this.#check(node, path, as, 'w');
    const parent = this.#look(parentOf(path))!;
    parent.children.delete(path.slice(path.lastIndexOf('/') + 1));
    parent.generation = ++this.#generation;
    this.#drop(path, node);
    return [{ path, removed: true }];
  }

  #drop(path: string, node: Node): void {
    for (const child of node.children) {
      const below = `${path}/${child}`;
      this.#drop(below, this.#nodes.get(below)!);
    }
    this.#touch(path);
    this.#nodes.delete(path);
  }

  #setPermissions(path: string, permissions: readonly string[], as: DomainId): Change[] {
    const node = this.#look(path);
    if (node === undefined) throw refused('ENOENT', path, 'there is no such node');
    if (permissions.length === 0 || !permissions.every((entry) => /^[nrwb]\d+$/.test(entry))) {
      throw refused('EINVAL', path, `permissions ${permissions.join(' ')}`);
    }
    if (as !== 0 && owner(node) !== as) throw refused('EACCES', path, `it is not domain ${as}'s`);
    node.permissions = [...permissions];
    node.generation = ++this.#generation;
    return [{ path, removed: false }];
  }

  #look(path: string): Node | undefined {
    this.#touch(path);
    return this.#nodes.get(path);
  }

  /** Before the node is changed. */
  #touch(path: string): void {
    if (this.#touched !== null && !this.#touched.has(path)) this.#touched.set(path, this.#nodes.has(path));
  }

  #check(node: Node, path: string, as: DomainId, wanted: 'r' | 'w'): void {
    if (as === 0 || owner(node) === as) return;
    const entry =
      node.permissions.slice(1).find((each) => Number(each.slice(1)) === as) ?? node.permissions[0]!;
    if (entry[0] === 'b' || entry[0] === wanted) return;
    throw refused('EACCES', path, `domain ${as} may not ${wanted === 'r' ? 'read' : 'write'} it`);
  }
}

/** An absolute path: those that do not begin with `/` are below the domain's own. */
export function absolute(path: string, domain: DomainId): string {
  const whole = path.startsWith('/') ? path : `/local/domain/${domain}/${path}`;
  const valid = whole === '/' || /^(\/[A-Za-z0-9_@-]+)+$/.test(whole);
  if (!valid || whole.length > MAX_PATH) throw refused('EINVAL', path, 'it is not a path of xenstore');
  return whole;
}

/** Whether `path` is `folder` or below it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || folder === '/' || path.startsWith(`${folder}/`);
}

function owner(node: Node): DomainId {
  return Number(node.permissions[0]!.slice(1));
}

function parentOf(path: string): string {
  const cut = path.lastIndexOf('/');
  return cut <= 0 ? '/' : path.slice(0, cut);
}

function refused(code: 'EACCES' | 'EINVAL' | 'ENOENT' | 'ENOSPC', path: string, reason: string): NetError {
  return new NetError(code, { syscall: `xenstore ${path}`, reason });
}
