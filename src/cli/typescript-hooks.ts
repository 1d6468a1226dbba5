import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

interface LoadResult {
  readonly format: 'module';
  readonly source: string;
  readonly shortCircuit: true;
}

/**
 * Module hook for Node versions that do not strip types themselves: TypeScript
 * files are loaded as ES modules with their types blanked out, so that lines and
 * columns stay as they are. The compiler is the one inside newer Nodes.
 */
export async function load<T>(
  url: string,
  context: unknown,
  nextLoad: (url: string, context: unknown) => T | Promise<T>,
): Promise<T | LoadResult> {
  if (!/^file:.*\.m?ts$/.test(url)) return nextLoad(url, context);
  const filename = fileURLToPath(url);
  const { transformSync } = await import('@swc/wasm-typescript');
  const text = await readFile(filename, 'utf8');
  try {
    return {
      format: 'module',
      source: transformSync(text, { mode: 'strip-only', filename }).code,
      shortCircuit: true,
    };
  } catch (error) {
    throw isDiagnostic(error)
      ? new SyntaxError(`${filename}:${error.startLine}: ${error.message}\n${error.snippet}`)
      : error;
  }
}

/** What the compiler throws: a plain object, not an `Error`. */
interface Diagnostic {
  readonly message: string;
  readonly snippet: string;
  readonly startLine: number;
}

function isDiagnostic(value: unknown): value is Diagnostic {
  return typeof value === 'object' && value !== null && 'snippet' in value && 'startLine' in value;
}
