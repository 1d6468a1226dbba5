import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

// The command as it is installed: the built code (`npm run build`; `npm test` does it first).
const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function file(name: string, source: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, source);
  return path;
}

async function mirageNet(...args: string[]) {
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args]);
  const ended = once(child, 'close');
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return { code: (await ended)[0] as number, stdout, stderr };
}

describe('an application in TypeScript', () => {
  it('runs, with modules of its own', async () => {
    await file('greet.ts', `export const greet = (name: string): string => 'hello ' + name;`);
    const app = await file(
      'app.ts',
      `import { greet } from './greet.ts';
import type { Stack } from 'mirage-net-direct';
export default async function app(stack: Stack, args: string[]): Promise<void> {
  console.log(greet(args[0]!), stack.kind satisfies string);
}`,
    );
    const { code, stdout, stderr } = await mirageNet('run', app, '--net', 'socket', '--', 'world');
    expect(stderr).toMatch(/runs on/);
    expect(stdout).toBe('hello world socket\n');
    expect(code).toBe(0);
  });

  it('that fails shows the line in the source', async () => {
    const app = await file(
      'app.ts',
      `interface Unused { a: string }\n\nexport default () => {\n  throw new Error('here');\n};\n`,
    );
    const { code, stderr } = await mirageNet('run', app, '--net', 'socket');
    expect(code).toBe(1);
    expect(stderr).toMatch(/Error: here.*app\.ts:4:9/s);
  });

  it('with a mistake is refused with its place', async () => {
    const app = await file('app.ts', 'export default (stack: => 3;\n');
    const { code, stderr } = await mirageNet('run', app, '--net', 'socket');
    expect(code).toBe(1);
    expect(stderr).toMatch(/app\.ts/);
  });
});

describe('the process', () => {
  it('ends although the application leaves a timer behind', async () => {
    const app = await file('app.mjs', 'export default () => { setInterval(() => {}, 1000); };\n');
    expect((await mirageNet('run', app, '--net', 'socket')).code).toBe(0);
  });

  it('fails with 1 on a rejection that nobody handles', async () => {
    const app = await file(
      'app.mjs',
      `export default async (stack) => {
  await stack.tcp.listen({ port: 0, host: '127.0.0.1' }, () => {});
  Promise.reject(new Error('unhandled'));
};\n`,
    );
    const { code, stderr } = await mirageNet('run', app, '--net', 'socket');
    expect(code).toBe(1);
    expect(stderr).toMatch(/Error: unhandled/);
  });

  it('prints the counters at the end with --stats', async () => {
    const app = await file('app.mjs', 'export default () => {};\n');
    const { stderr } = await mirageNet('run', app, '--net', 'socket', '--stats');
    const json = stderr.split('\n').find((line) => line.startsWith('{'));
    expect(JSON.parse(json!)).toMatchObject({ tcp: { listeners: 0 } });
  });
});
