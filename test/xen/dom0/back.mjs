/** Our backend against Linux's frontend. */
import { checkEnd } from './ends.mjs';

await checkEnd('back', 'xen-netfront');
