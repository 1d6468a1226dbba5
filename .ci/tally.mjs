// Sums the reports of the suites in a folder: NAME.json and the exit code in NAME.code.
// A report is vitest's, or a list of { ok } objects.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
const total = { passed: 0, failed: 0, skipped: 0 };

for (const file of readdirSync(folder).filter((name) => name.endsWith('.code'))) {
  const name = file.slice(0, -'.code'.length);
  const code = Number(readFileSync(join(folder, file), 'utf8'));
  const counts = count(join(folder, `${name}.json`));
  // No report, an error outside of any test, a suite that was cut off: a failure all the same.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  console.log(`${name}: ${line(counts)}`);
  for (const key of Object.keys(total)) total[key] += counts[key];
}

console.log(line(total));
process.exitCode = total.failed > 0 || total.skipped > 0 || total.passed === 0 ? 1 : 0;

function count(path) {
  if (!existsSync(path)) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(readFileSync(path, 'utf8'));
  if (Array.isArray(report)) {
    const passed = report.filter(({ ok }) => ok).length;
    return { passed, failed: report.length - passed, skipped: 0 };
  }
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
