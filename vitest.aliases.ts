import { fileURLToPath } from 'node:url';

const entries: Record<string, string> = {
  'mirage-net-direct/link': './src/netif/link.ts',
  'mirage-net-direct/tap': './src/netif/tap/index.ts',
  'mirage-net-direct/stream': './src/netif/stream/index.ts',
  'mirage-net-direct/xen': './src/netif/xen/index.ts',
  'mirage-net-direct/socket': './src/socket/index.ts',
  'mirage-net-direct/net': './src/net/index.ts',
  'mirage-net-direct/cli': './src/cli/index.ts',
  'mirage-net-direct': './src/index.ts',
};

/** The package's own entry points, from source: tests and examples import them by name. */
export const aliases = Object.entries(entries).map(([find, path]) => ({
  find: new RegExp(`^${find}$`),
  replacement: fileURLToPath(new URL(path, import.meta.url)),
}));
