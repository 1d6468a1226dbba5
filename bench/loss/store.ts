/** Results of earlier runs on disk, and the page that they are shown on. */
import { readFile, writeFile } from 'node:fs/promises';

/** The results in `file`; none where there is no such file. */
export async function readResults<Result>(file: string): Promise<Result[]> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Result[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** `fresh`, and of `earlier` what `fresh` has not measured again. */
export function merge<Result>(
  earlier: readonly Result[],
  fresh: readonly Result[],
  keyOf: (result: Result) => string,
): Result[] {
  const again = new Set(fresh.map(keyOf));
  return [...earlier.filter((result) => !again.has(keyOf(result))), ...fresh].sort((a, b) =>
    keyOf(a) < keyOf(b) ? -1 : 1,
  );
}

/** Puts `section` between the page's comments `<!-- NAME -->` and `<!-- /NAME -->`. */
export async function writeSection(page: string, name: string, section: string): Promise<void> {
  const text = await readFile(page, 'utf8');
  await writeFile(page, withSection(text, name, section));
}

/** Throws if `text` has no such place. */
export function withSection(text: string, name: string, section: string): string {
  const open = `<!-- ${name} -->`;
  const close = `<!-- /${name} -->`;
  const from = text.indexOf(open);
  const to = text.indexOf(close);
  if (from < 0 || to < from) throw new Error(`the page has no place for ${name}`);
  return `${text.slice(0, from + open.length)}\n\n${section}\n\n${text.slice(to)}`;
}
