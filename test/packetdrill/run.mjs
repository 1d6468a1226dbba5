/**
 * Runs packetdrill scripts against the built stack, each over two ranges of the
 * peer's sequence numbers: from 0, and across the wrap at 2^32; and once over IPv6.
 *
 *     node test/packetdrill/run.mjs [--interpreter DIR] [--sut FILE] [--netif NETIF]... [--remote-isn N]... [--json OUT] [SCRIPT|DIR]...
 *
 * The interpreter (`pkt-parser.mjs`, `pkt-run.mjs`) is looked for in DIR, in
 * `$PACKETDRILL`, then in `../shared/packetdrill` beside the repository. NETIF is
 * `none` (single datagrams, the default), `xen`, `xen-software` or `xen-no-offloads`. The interpreter's
 * neutral mode is what a script starts from; a line `// strict: WORD...` of the
 * script asks for more (see README.md).
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const WRAP = 2 ** 32 - 96;

function parseArguments(args) {
  const options = {
    interpreter: process.env.PACKETDRILL ?? path.join(here, '../../../shared/packetdrill'),
    sut: path.join(here, 'adapter.mjs'),
    netifs: [],
    remoteIsns: [],
    json: null,
    scripts: [],
  };
  const rest = [...args];
  while (rest.length > 0) {
    const word = rest.shift();
    if (word === '--interpreter') options.interpreter = rest.shift();
    else if (word === '--sut') options.sut = rest.shift();
    else if (word === '--netif') options.netifs.push(rest.shift());
    else if (word === '--remote-isn') options.remoteIsns.push(Number(rest.shift()));
    else if (word === '--json') options.json = rest.shift();
    else if (word.startsWith('--')) throw new Error(`unknown option ${word}`);
    else options.scripts.push(word);
  }
  if (options.remoteIsns.length === 0) options.remoteIsns = [0, WRAP];
  if (options.netifs.length === 0) options.netifs = ['none'];
  if (options.scripts.length === 0) options.scripts = [here];
  return options;
}

function* scriptsUnder(where) {
  if (fs.statSync(where).isFile()) {
    if (where.endsWith('.pkt')) yield where;
    return;
  }
  for (const name of fs.readdirSync(where).sort()) yield* scriptsUnder(path.join(where, name));
}

/** What a script asks for beyond neutral mode, as options of the interpreter. */
const STRICT = {
  acks: () => ({ extraAcks: false }),
  dsack: () => ({ dsackOptional: false }),
  psh: () => ({ psh: true }),
  syn: () => ({ synOptions: 'semantic' }),
  window: () => ({ win: true }),
  timing: (us) => ({ timing: Number(us) }),
};

function strictness(text, file) {
  const options = {};
  for (const [, words] of text.matchAll(/^\/\/ strict: (.*)$/gm)) {
    for (const word of words.trim().split(/\s+/)) {
      const [name, value] = word.split('=');
      if (!STRICT[name]) throw new Error(`${file}: strict: ${word} is not known`);
      Object.assign(options, STRICT[name](value));
    }
  }
  return options;
}

/** In IPv4 over each range of sequence numbers; then once in IPv6, unless the script is of one family only. */
function* runsOf(text) {
  const own = /^--ip_version=(ipv\d)/m.exec(text)?.[1];
  for (const remoteIsn of options.remoteIsns) yield { remoteIsn, ipVersion: own ?? 'ipv4' };
  const oneFamily = own !== undefined || /^\/\/ family: ipv4/m.test(text);
  if (!oneFamily) yield { remoteIsn: options.remoteIsns.at(-1), ipVersion: 'ipv6' };
}

const options = parseArguments(process.argv.slice(2));
const load = (file) => import(pathToFileURL(path.resolve(file)).href);
const { parsePkt } = await load(path.join(options.interpreter, 'pkt-parser.mjs'));
const { runScript, NEUTRAL } = await load(path.join(options.interpreter, 'pkt-run.mjs'));
const adapter = await load(options.sut);
const sutOf = (netif) => (netif === 'none' ? adapter.createSut : adapter.sutOver(netif));

/** What a script says that is not so over a device which takes several segments in one frame. */
const ONE_SEGMENT = /^\/\/ frames: one segment$/m;
const HAS_LARGE_FRAMES = new Set(['xen', 'xen-software']);
const leftOut = [];

const results = [];

async function runOver(netif, file, name, text, createSut) {
  for (const { remoteIsn, ipVersion } of runsOf(text)) {
    let result;
    try {
      // The interpreter keeps notes in the parsed script: a fresh one for every run.
      const script = parsePkt(text, { file });
      // A longer header on a wider link: segments are as long as the script says.
      if (ipVersion === 'ipv6' && script.config.mtu && !script.config.ip_version)
        script.config.mtu = Number(script.config.mtu) + 20;
      result = await runScript(script, createSut, {
        ...NEUTRAL,
        ...strictness(text, name),
        remoteIsn,
        ipVersion,
      });
    } catch (error) {
      result = { ok: false, error: error.message };
    }
    results.push({ ...result, file: name, netif, remoteIsn, ipVersion });
    if (!result.ok) {
      const where = `remote ISN ${remoteIsn}, ${ipVersion}${netif === 'none' ? '' : `, ${netif}`}`;
      console.log(`FAIL ${name}:${result.line ?? ''} (${where}) ${result.error}`);
      if (result.stack) console.log(result.stack);
    }
  }
}

for (const netif of options.netifs) {
  const createSut = sutOf(netif);
  for (const where of options.scripts) {
    for (const file of scriptsUnder(where)) {
      const name = path.relative(process.cwd(), file);
      const text = fs.readFileSync(file, 'utf8');
      if (HAS_LARGE_FRAMES.has(netif) && ONE_SEGMENT.test(text)) leftOut.push(`${name} (${netif})`);
      else await runOver(netif, file, name, text, createSut);
    }
  }
}
if (leftOut.length > 0) console.log(`left out with segments in one frame: ${leftOut.join(', ')}`);
const failed = results.filter((result) => !result.ok).length;
console.log(
  `${results.length - failed} of ${results.length} runs pass, ${new Set(results.map((r) => r.file)).size} scripts`,
);
if (options.json) fs.writeFileSync(options.json, JSON.stringify(results, null, 1));
process.exitCode = failed === 0 && results.length > 0 ? 0 : 1;
