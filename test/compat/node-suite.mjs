// Runs Node's own tests of net, dgram, http, https and tls on createNet and createDgram, or on Node's built-ins:
//   npm run test:node [-- SUITE…] [--all] [--builtin] [--filter RE] [--json REPORT]
// The runner is that of ../shared/node-net, the tests are those of Debian's source package of Node 20. NODE_SUITE
// is a folder that has them already. What cannot pass is in expected/SUITE.txt, with the reason, and is run with --all
// only.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = dirname(fileURLToPath(import.meta.url));
const RUNNER = resolve(HERE, '../../../shared/node-net');
const CACHE = join(tmpdir(), 'mirage-net-node-suite');

/** What is run for each suite: lists of the runner's, or all tests whose names begin so. */
const SUITES = {
  net: { lists: ['net-core', 'net-dns'], arguments: ['--guard'] },
  // Local sockets, descriptors, child processes: what the host has to do with it.
  host: { lists: ['net-excluded'] },
  dgram: { prefix: 'dgram' },
  http: { prefix: 'http' },
  https: { prefix: 'https' },
  tls: { prefix: 'tls' },
  http2: { prefix: 'http2' },
};
/** Those that are part of every check; the others take a quarter of an hour. */
const DEFAULT_SUITES = ['net', 'host', 'dgram'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    builtin: { type: 'boolean', default: false },
    filter: { type: 'string' },
    json: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});

if (!existsSync(join(RUNNER, 'run.mjs'))) {
  console.log(`skipped: the runner of Node's tests is not at ${RUNNER}`);
  report([{ title: "the runner of Node's tests", ok: false, skipped: true }]);
  process.exit(process.env.CI ? 1 : 0);
}

const work = mkdtempSync(join(tmpdir(), 'mirage-net-node-'));
const results = [];
try {
  const suite = process.env.NODE_SUITE ?? fetchSuite();
  for (const name of positionals.length > 0 ? positionals : DEFAULT_SUITES) results.push(...run(name, suite));
} finally {
  rmSync(work, { recursive: true });
}
report(results);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;

/** Runs one suite; gives a result per test. */
function run(name, suite) {
  const expected = values.builtin ? new Map() : readExpected(name);
  const all = idsOf(name, suite);
  const ids = values.all ? all : all.filter((id) => !expected.has(id));
  const list = join(work, `${name}.txt`);
  const json = join(work, `${name}.results.json`);
  writeFileSync(list, `${ids.join('\n')}\n`);
  const ours = ['--module', join(HERE, 'net-under-test.cjs'), ...(SUITES[name].arguments ?? [])];
  // Others have DNS servers of their own, which the host's resolver asks.
  if (name === 'dgram') ours.push('--dgram', join(HERE, 'dgram-under-test.cjs'));
  if (!DEFAULT_SUITES.includes(name)) ours.push('--mode', 'inplace');
  const filter = values.filter ? ['--filter', values.filter] : [];
  const { status } = spawnSync(
    process.execPath,
    [join(RUNNER, 'run.mjs'), '--list', list, '--json', json, ...(values.builtin ? [] : ours), ...filter],
    {
      stdio: values.verbose ? 'inherit' : ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, NODE_SUITE: suite },
    },
  );
  if (!existsSync(json)) throw new Error(`the runner ended with ${status} and no report of ${name}`);
  const { results: tests } = JSON.parse(readFileSync(json, 'utf8'));
  const passed = tests.filter(({ status: outcome }) => isGood(outcome)).length;
  const rest = all.length - ids.length;
  console.log(
    `${name}: ${passed} of ${tests.length} pass${rest > 0 ? `; ${rest} known to fail are not run` : ''}`,
  );
  return tests.map(({ id, status: outcome, why, out }) => {
    const reason = expected.get(id);
    if (isGood(outcome) && reason !== undefined) console.log(`passes, though known to fail: ${id}`);
    else if (!isGood(outcome) && reason !== undefined) console.log(`fails as known: ${id}: ${reason}`);
    else if (!isGood(outcome)) console.log(`FAIL ${id} (${outcome}): ${why}\n${out ?? ''}`);
    return { title: `${name} ${id}`, ok: isGood(outcome) || reason !== undefined, outcome };
  });
}

function isGood(outcome) {
  return outcome === 'pass' || outcome === 'skip';
}

/** Those of the runner's lists, or all whose names begin with `test-PREFIX`. */
function idsOf(name, suite) {
  const { lists, prefix } = SUITES[name];
  if (lists !== undefined) {
    return lists.flatMap((list) =>
      readFileSync(join(RUNNER, 'lists', `${list}.txt`), 'utf8')
        .split('\n')
        .map((line) => line.split(/\s/)[0])
        .filter((id) => id !== '' && !id.startsWith('#')),
    );
  }
  const pattern = new RegExp(`^test-${prefix}[-.].*(js|mjs|cjs)$`);
  return ['parallel', 'sequential'].flatMap((folder) =>
    readdirSync(join(suite, 'test', folder))
      .filter((file) => pattern.test(file))
      .map((file) => `${folder}/${file}`)
      .sort(),
  );
}

/** `ID # reason` a line, from `expected/NAME.txt`; those that the built-in fails too are in `expected/builtin.txt`. */
function readExpected(name) {
  const expected = new Map();
  for (const file of ['builtin', name]) {
    const path = join(HERE, 'expected', `${file}.txt`);
    if (!existsSync(path)) continue;
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const [, id, reason] = /^(\S+)\s+#\s*(.+)$/.exec(line) ?? [];
      if (id !== undefined) expected.set(id, reason);
    }
  }
  return expected;
}

/**
 * The `test` folder of Debian's source package of Node 20, by the machine's own mirror. Only the tarball of the
 * original sources is asked for: the files of Debian's own come and go with every update.
 */
function fetchSuite() {
  if (existsSync(join(CACHE, 'test'))) return CACHE;
  const apt = join(work, 'apt');
  mkdirSync(join(apt, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(apt, 'cache', 'archives', 'partial'), { recursive: true });
  writeFileSync(join(apt, 'sources.list'), `deb-src [signed-by=${keyring()}] ${mirror()} trixie main\n`);
  const options = [
    `Dir::Etc::sourcelist=${apt}/sources.list`,
    'Dir::Etc::sourceparts=/dev/null',
    `Dir::State::lists=${apt}/lists`,
    `Dir::Cache=${apt}/cache`,
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  const run = (...args) =>
    execFileSync('apt-get', [...options, '-qq', ...args], { cwd: apt, stdio: 'inherit' });
  run('update');
  run('source', '--download-only', '--tar-only', 'nodejs');
  const tarball = readdirSync(apt).find((file) => /^nodejs_.*\.orig\.tar\.xz$/.test(file));
  const unpacked = join(work, 'suite');
  mkdirSync(unpacked);
  execFileSync('tar', [
    '-xJf',
    join(apt, tarball),
    '-C',
    unpacked,
    '--strip-components=1',
    '--wildcards',
    '*/test/*',
  ]);
  rmSync(CACHE, { recursive: true, force: true });
  execFileSync('mv', [unpacked, CACHE]);
  return CACHE;
}

function keyring() {
  return '/usr/share/keyrings/debian-archive-keyring.gpg';
}

/** The Debian mirror of the machine's own apt configuration. */
function mirror() {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.sources')) : [];
  for (const file of files) {
    for (const [, uri] of readFileSync(join(folder, file), 'utf8').matchAll(/^URIs:\s*(\S+)/gm)) {
      if (/\/debian\/?$/.test(uri)) return uri;
    }
  }
  return 'http://deb.debian.org/debian';
}

function report(list) {
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(list, null, 1));
}
