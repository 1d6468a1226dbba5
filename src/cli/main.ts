#!/usr/bin/env node
import { runCommand } from './index.ts';

const { stdout, stderr } = process;
const code = await runCommand(process.argv.slice(2), { stdout, stderr, process });
// An application may leave timers behind; the command is over all the same, once its output is written.
if (code !== null) stdout.write('', () => process.exit(code));
