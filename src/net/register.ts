/**
 * `mirage-net-direct/register`: starts a stack and puts it in the place of the
 * process's own network, for programs that know nothing of it:
 *
 * ```sh
 * MIRAGE_NET="--netif tap:tap0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24" \
 *   node --import mirage-net-direct/register app.js
 * ```
 *
 * `MIRAGE_NET` has the options of `mirage-net run`. Without it, the default
 * export of `mirage-net.config.js` (or of the file that `MIRAGE_NET_CONFIG`
 * names) says what is wanted: see {@link ProgramConfig}.
 *
 * Then `node:net`, `http`, `https`, `http2`, `tls`, `dgram`, `dns.lookup` and
 * `fetch` of this process are the stack's. Local sockets, pipes, descriptors
 * and the channel to a parent process stay the host's; so does the network of
 * worker threads and child processes.
 */
import { isMainThread } from 'node:worker_threads';
import { programOf, startProgram } from '../cli/index.ts';

export type { ProgramConfig, ProgramConfigExport, ProgramContext } from '../cli/index.ts';

const program = await programOf(process.env, isMainThread);
if (program !== null) await startProgram(program);
