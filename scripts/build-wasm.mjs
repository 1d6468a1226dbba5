// Assembles src/checksum/sum.wat into src/checksum/sum-wasm.ts, which is
// committed, so that building and using the package needs no assembler.
//
//   node scripts/build-wasm.mjs            writes it
//   node scripts/build-wasm.mjs --check    fails if it is not what the source gives
import { readFile, writeFile } from 'node:fs/promises';
import loadWabt from 'wabt';

const source = new URL('../src/checksum/sum.wat', import.meta.url);
const target = new URL('../src/checksum/sum-wasm.ts', import.meta.url);

const wabt = await loadWabt();
const module = wabt.parseWat('sum.wat', await readFile(source, 'utf8'), { simd: true });
module.validate();
const { buffer } = module.toBinary({});
const base64 = Buffer.from(buffer).toString('base64');
const lines = base64.match(/.{1,96}/g).map((line) => `  '${line}'`);
const text = `// Made of sum.wat by scripts/build-wasm.mjs; do not edit.

/** The module's ${buffer.length} bytes in base64. */
export const SUM_WASM =
${lines.join(' +\n')};
`;

if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8')) !== text) {
    console.error('src/checksum/sum-wasm.ts is not what sum.wat gives: run node scripts/build-wasm.mjs');
    process.exitCode = 1;
  }
} else {
  await writeFile(target, text);
}
