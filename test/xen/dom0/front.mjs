/** Our frontend against Linux's backend. */
import { checkEnd } from './ends.mjs';

await checkEnd('front', 'xen-netback');
