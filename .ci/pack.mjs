// Packs the package, installs it into an empty project, imports every entry point and runs it there:
//   npm run test:pack [-- --json REPORT]
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { name, exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'mirage-net-pack-'));
const results = [];

function run(command, ...args) {
  return execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function check(title, task) {
  try {
    task();
    results.push({ title, ok: true });
    console.log(`ok   ${title}`);
  } catch (error) {
    results.push({ title, ok: false, error: String(error) });
    console.log(`FAIL ${title}: ${error}`);
  }
}

function includes(text, part) {
  if (!text.includes(part)) throw new Error(`"${part}" is not in:\n${text}`);
}

const APPLICATION = `import type { Stack } from '${name}';
import { DirectStack } from '${name}';
import { createCable } from '${name}/link';
import { RealClock } from '${name}';
export default async function app(stack: Stack, args: string[]): Promise<void> {
  const [near, far] = createCable({ clock: new RealClock() });
  const server = new DirectStack({ netif: far, ipv4: '10.0.0.2/24' });
  const client = new DirectStack({ netif: near, ipv4: '10.0.0.1/24' });
  await Promise.all([server.ready(), client.ready()]);
  await server.tcp.listen({ port: 7 }, async (flow) => {
    for await (const chunk of flow) await flow.write(chunk);
    await flow.close();
  });
  const flow = await client.tcp.connect({ host: '10.0.0.2', port: 7 });
  await flow.write(Buffer.from(args[0]!));
  await flow.shutdown();
  for await (const chunk of flow) console.log(stack.kind, String(chunk));
  await flow.close();
  await client.close();
  await server.close();
}
`;

try {
  check('packs and installs', () => {
    const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
      encoding: 'utf8',
    });
    writeFileSync(join(folder, 'package.json'), '{ "type": "module", "private": true }\n');
    const [{ filename }] = Object.values(JSON.parse(packed));
    run('npm', 'install', '--no-audit', '--no-fund', '--omit=dev', `./${filename}`);
  });
  // `./register` acts when it is imported; without its setting it says what is missing.
  const entries = Object.keys(exports).filter((key) => !key.endsWith('.json') && key !== './register');
  for (const entry of entries) {
    check(`imports ${name}${entry.slice(1)}`, () => {
      const script = `import * as entry from '${name}${entry.slice(1)}'; console.log(Object.keys(entry).length > 0)`;
      includes(run('node', '--input-type=module', '-e', script), 'true');
    });
  }
  check('register says what it needs', () => {
    const { status, stderr } = spawnSync('node', ['--import', `${name}/register`, '-e', '1'], {
      cwd: folder,
      encoding: 'utf8',
    });
    if (status === 0) throw new Error('it began without MIRAGE_NET');
    includes(stderr, 'MIRAGE_NET is not set');
  });
  check('has a command', () => includes(run('npx', 'mirage-net', 'help', 'run'), '--netif'));
  check('runs an application in TypeScript', () => {
    writeFileSync(join(folder, 'app.ts'), APPLICATION);
    includes(run('npx', 'mirage-net', 'run', 'app.ts', '--net', 'socket', '--', 'hello'), 'socket hello');
  });
  const unikernel = ['build', 'app.ts', '--target', 'unix', '--netif', 'tap:mnd0', '--ip', '10.0.0.2/24'];
  check('says that a unikernel needs esbuild', () => {
    const { status, stderr } = spawnSync('npx', ['mirage-net', ...unikernel], {
      cwd: folder,
      encoding: 'utf8',
    });
    if (status !== 1) throw new Error(`it ends with ${status}`);
    includes(stderr, 'npm install --save-dev esbuild');
  });
  check('builds a unikernel', () => {
    run('npm', 'install', '--no-audit', '--no-fund', 'esbuild');
    includes(run('npx', 'mirage-net', ...unikernel), join(folder, 'app'));
    includes(readFileSync(join(folder, 'app.unikernel/main.mjs'), 'utf8'), 'direct');
  });
  check('runs the demonstration', () =>
    includes(run('npx', 'mirage-net', 'demo', '--seconds', '1'), 'Gbit/s'),
  );
} finally {
  rmSync(folder, { recursive: true });
}

const json = process.argv.indexOf('--json');
if (json > 0) writeFileSync(process.argv[json + 1], JSON.stringify(results, null, 1));
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;
