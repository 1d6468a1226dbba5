/**
 * One long run, in a process of its own; prints its result as JSON:
 *   node --import tsx test/netif-xen/job.ts fuzz|schedules|models SEED COUNT
 */
import { fuzz } from './fuzz/fuzz.ts';
import { runModels } from './model/random.ts';
import { runSchedules } from './model/schedules.ts';

const [kind, seedText, countText] = process.argv.slice(2);
const seed = Number(seedText);
const count = Number(countText);
if (kind === 'fuzz') {
  const { reasons, ...rest } = await fuzz(seed, count);
  console.log(JSON.stringify({ ...rest, reasons: Object.fromEntries(reasons) }));
} else if (kind === 'schedules') {
  console.log(JSON.stringify(runSchedules(seed, count)));
} else if (kind === 'models') {
  console.log(JSON.stringify(runModels(seed, count)));
} else {
  throw new Error(`no job ${kind}`);
}
