import { checkEnd } from './ends.mjs';

/** MiB of the large transfer, and of the one for each shape of a connection. */
const [mib, smallMib] = (process.env.SIZES ?? '100:4').split(':').map(Number);
const only = process.argv[2];
if (only !== 'back') {
  await checkEnd({ role: 'front', driver: 'xen-netback', insmod: ['max_queues=2'] }, { mib, smallMib });
}
if (only !== 'front') {
  await checkEnd({ role: 'back', driver: 'xen-netfront', insmod: ['max_queues=2'] }, { mib, smallMib });
}
