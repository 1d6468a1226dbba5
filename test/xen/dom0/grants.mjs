import { readFileSync } from 'node:fs';
import { run } from './support.mjs';

/**
 * That this domain shares no page: as many as the kernel allows in all can be
 * shared at once, which fails if a single one is still out.
 */
export function expectNothingShared(hypervisor) {
  const limit = Number(readFileSync('/sys/module/xen_gntalloc/parameters/limit', 'utf8'));
  hypervisor.grants.share(0, limit, true).end();
  return `all ${limit} pages can be shared`;
}

/** Grants of domain `domain` that someone has mapped, as the hypervisor itself counts them (`xl debug-keys g`). */
export async function grantsInUse(domain = 0) {
  await run('xl', 'dmesg', '-c');
  await run('xl', 'debug-keys', 'g');
  const text = await run('xl', 'dmesg');
  // grant-table for remote d0 (v1), then a line per active grant: [ref] localdom mfn pin ...
  const table = new RegExp(
    `grant-table for remote d${domain} [\\s\\S]*?(?=grant-table for remote|gnttab_usage_print_all|$)`,
  ).exec(text);
  if (table === null) throw new Error(`no grant table of domain ${domain} in:\n${text}`);
  return table[0].split('\n').filter((line) => /\[0x[0-9a-f]+\]/.test(line)).length;
}
