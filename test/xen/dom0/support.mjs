import { execFile, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

/** A line of the console that the machine outside counts. */
function report(result) {
  console.log(`CHECK ${JSON.stringify(result)}`);
}

/** Runs `task`; what it returns is printed beside the name, what it throws makes the check fail. */
export async function check(name, task, { seconds = 240 } = {}) {
  // For one check at a time, while working on it.
  if (process.env.ONLY && !name.includes(process.env.ONLY)) return;
  const begin = performance.now();
  const elapsed = () => Number(((performance.now() - begin) / 1000).toFixed(1));
  try {
    const detail = await within(seconds, name, task());
    report({ name, ok: true, seconds: elapsed(), ...(detail !== undefined && { detail }) });
    return true;
  } catch (error) {
    report({ name, ok: false, seconds: elapsed(), error: String(error?.stack ?? error) });
    return false;
  }
}

export function within(seconds, what, promise) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

export function expect(actual, wanted, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what} is ${a}, not ${b}`);
}

export async function rejects(promise, code) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    expect(error.code, code, `the code of "${error.message}"`);
    return;
  }
  throw new Error(`${JSON.stringify(result)} in place of ${code}`);
}

/** Tries `condition` until it is truthy, and gives what it gave. */
export async function until(what, condition, seconds = 120) {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(50);
  }
}

/** Output of a command; an exit code other than 0 is an error with all that it said. */
export function run(command, ...args) {
  return new Promise((resolve, reject) => {
    execFile(command, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}: ${error.message}\n${stdout}${stderr}`));
      else resolve(stdout);
    });
  });
}

export function start(command, ...args) {
  return spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
}
