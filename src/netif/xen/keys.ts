import type { XenstoreAccess } from './hypervisor.ts';

/** What a backend or frontend says about itself under `folder`: numbers by key; what is no number is as if it were not there. */
export async function readNumbers<K extends string>(
  store: XenstoreAccess,
  folder: string,
  keys: readonly K[],
): Promise<Partial<Record<K, number>>> {
  const texts = await Promise.all(keys.map((key) => store.read(`${folder}/${key}`)));
  const numbers: Partial<Record<K, number>> = {};
  texts.forEach((text, i) => {
    if (text !== null && /^\d{1,10}$/.test(text)) numbers[keys[i]!] = Number(text);
  });
  return numbers;
}

export async function writeAll(
  store: XenstoreAccess,
  folder: string,
  values: Readonly<Record<string, number | string>>,
): Promise<void> {
  for (const [key, value] of Object.entries(values)) await store.write(`${folder}/${key}`, String(value));
}
