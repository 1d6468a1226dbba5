/**
 * Boots a real Xen under QEMU's software emulation and runs scripts of dom0/ in it:
 *
 *     node test/xen/run.mjs [--json REPORT] [SCRIPT]...
 *
 * `XEN_MIB` is the size of the large transfer each way (100), `XEN_SHAPE_MIB` of
 * the one for each shape of a connection (4). `XEN_LAB` is the folder for what
 * is downloaded and built, kept for the next time. `XEN_ONLY` runs the checks
 * whose names contain it; `XEN_VERBOSE` shows the whole console. Where there is
 * no QEMU it says so and is skipped.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boot, dom0, kernelOf, missing, modulesOf, tree, unpack, write } from './lab.mjs';

const SCRIPTS = ['primitives', 'command', 'front', 'back', 'unikernel'];
/** Of one boot; a machine with nothing else to do needs a few minutes. */
const MOST_SECONDS = 3600;

const { XEN_LAB, XEN_MIB = '100', XEN_SHAPE_MIB = '4', XEN_ONLY = '', XEN_VERBOSE } = process.env;
const words = process.argv.slice(2);
const json = words.includes('--json') ? words.splice(words.indexOf('--json'), 2)[1] : null;
const scripts = words.length > 0 ? words : SCRIPTS;
const reason = missing();
if (reason !== null) {
  console.log(`The tests on a real Xen are skipped: ${reason}.`);
  // To who asked for a report, a suite that did not run has not passed.
  if (json !== null) writeFileSync(json, JSON.stringify([{ name: `skipped: ${reason}`, ok: false }]));
  process.exit(0);
}

const project = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folder = XEN_LAB ?? join(tmpdir(), 'mirage-net-xen');
mkdirSync(folder, { recursive: true });
const packages = unpack(folder);

/** The web server of the examples as a domain's image, in `/unikernel` of dom0, with what it serves. */
function unikernel() {
  const out = join(folder, 'unikernel');
  const site = join(folder, 'site');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(site, { recursive: true });
  writeFileSync(join(site, 'index.html'), '<h1>A unikernel</h1>\n');
  writeFileSync(join(site, 'file'), Buffer.alloc(2 * 1024 * 1024, 'what a domain serves '));
  execFileSync(
    process.execPath,
    [
      ...[join(project, 'dist/cli/main.js'), 'build', join(project, 'examples/web-server.ts')],
      ...['--target', 'xen', '--out', out, '--include', `${site}:/srv`, '--memory', '448'],
      ...['--kernel', kernelOf(packages), '--modules', modulesOf(packages)],
      ...['--vif', 'script=vif-lab', '--ip', '10.0.0.2/24', '--', '/srv'],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  // There the same files have other paths.
  const configuration = join(out, 'web-server.xl');
  writeFileSync(configuration, readFileSync(configuration, 'utf8').replaceAll(`${out}/`, '/unikernel/'));
  return [...tree(out, 'unikernel'), ...tree(site, 'unikernel')];
}

const results = [];
function report(text) {
  const result = JSON.parse(text);
  results.push(result);
  const { name, ok, seconds, detail, error } = result;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)${detail === undefined ? '' : `: ${detail}`}`);
  if (error !== undefined) console.log(error);
}

const initramfs = join(folder, 'dom0.cpio');
const log = join(folder, 'console.log');
write(dom0(packages, scripts.includes('unikernel') ? unikernel() : []), initramfs);
let ended = false;
const machine = await boot({
  packages,
  initramfs,
  log,
  seconds: MOST_SECONDS,
  parameters: `lab=${scripts.join(':')} sizes=${XEN_MIB}:${XEN_SHAPE_MIB} only=${XEN_ONLY.replaceAll(' ', '_')}`,
  line: (text) => {
    if (text.startsWith('CHECK ')) report(text.slice('CHECK '.length));
    else if (text.startsWith('== ')) {
      console.log(text);
      ended ||= text === '== exit code 0';
    } else if (XEN_VERBOSE) console.log(`     ${text}`);
  },
});
results.push({ name: 'every script runs to its end', ok: ended });
const failed = results.filter(({ ok }) => !ok).length;
console.log(
  `${results.length - failed} of ${results.length} checks pass, ${machine.seconds.toFixed(0)} s; the console is in ${log}`,
);
if (json !== null) writeFileSync(json, JSON.stringify(results, null, 1));
process.exitCode = failed === 0 ? 0 : 1;
