/**
 * `npm run bench:tap`: our TCP over a TAP beside the floor and the kernel.
 *
 *   --rounds 3 --seconds 2            how often and how long each is measured
 *   --modes sink,source,ping,connect,connect32
 *   --kinds offloads,plain
 *   --peer 'NAME=COMMAND'             another stack: a server with the TAP as descriptor 3 that answers
 *                                     at 10.77.0.2 on 5001 (discards), 5002 (sends), 5003 (echoes); repeatable
 *   --out FOLDER                      where tap.json and tap.svg go (reports/bench)
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { canTap } from '../test/tap/support/kernel-host.ts';
import type { Mode } from './tap/lab.ts';
import { MODES, race, usualContestants } from './tap/race.ts';
import { chart, printTables } from './tap/report.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    modes: { type: 'string', default: MODES.join(',') },
    kinds: { type: 'string', default: 'offloads,plain' },
    peer: { type: 'string', multiple: true, default: [] },
    out: { type: 'string', default: 'reports/bench' },
  },
});

const noTap = canTap();
if (noTap !== null) {
  console.log(`Left out, because over TAP: ${noTap}`);
} else {
  const modes = values.modes.split(',') as Mode[];
  const strange = modes.find((mode) => !MODES.includes(mode));
  if (strange !== undefined) throw new Error(`there is no mode "${strange}": ${MODES.join(', ')}`);
  const peers = values.peer.map((text) => {
    const equals = text.indexOf('=');
    return { name: text.slice(0, equals), command: ['sh', '-c', `exec ${text.slice(equals + 1)}`] };
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const kinds = values.kinds.split(',');
  const results = await race({
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    modes,
    contestants: usualContestants(peers).filter(({ kind }) => kinds.includes(kind)),
    onProgress: (done, total, what) => {
      const line = `${String(Math.floor((100 * done) / total)).padStart(3)} %  ${what}`;
      process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
    },
  });
  process.stderr.write('\n');
  printTables(results, (table, title) => {
    console.log(`\n${title}`);
    console.table(table);
  });
  await mkdir(values.out, { recursive: true });
  const machine = { cpu: cpus()[0]?.model, cpus: cpus().length, kernel: release(), node: process.version };
  const json = { date: new Date().toISOString(), machine, results };
  await writeFile(join(values.out, 'tap.json'), `${JSON.stringify(json, null, 1)}\n`);
  await writeFile(join(values.out, 'tap.svg'), chart(results));
  console.log(`\n${join(values.out, 'tap.json')} and tap.svg are written.`);
}
