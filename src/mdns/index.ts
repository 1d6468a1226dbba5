export { Mdns, type MdnsHost, type MdnsOptions, type MdnsService } from './mdns.ts';
