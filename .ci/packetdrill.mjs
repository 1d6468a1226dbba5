// Runs the packetdrill scripts of test/packetdrill against the built stack:
//   npm run test:packetdrill [-- --remote-isn N] [--json REPORT] [SCRIPT.pkt...]
// The interpreter is not part of this repository; PACKETDRILL says where it is.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';

const interpreter = process.env.PACKETDRILL ?? '../shared/packetdrill/pkt-run.mjs';
if (!existsSync(interpreter)) {
  console.error(`There is no packetdrill interpreter at ${interpreter}; set PACKETDRILL to its path.`);
  process.exit(1);
}

const folder = 'test/packetdrill';
const args = process.argv.slice(2);
const scripts = args.some((arg) => arg.endsWith('.pkt'))
  ? []
  : readdirSync(folder, { recursive: true })
      .filter((name) => name.endsWith('.pkt'))
      .sort()
      .map((name) => `${folder}/${name}`);
const { status } = spawnSync(
  process.execPath,
  [interpreter, '--sut', `${folder}/adapter.mjs`, '--neutral', ...args, ...scripts],
  { stdio: 'inherit' },
);
process.exit(status ?? 1);
