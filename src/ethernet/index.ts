export { Ethernet, type EthernetCounters, type EtherProtocol, type FrameObserver } from './ethernet.ts';
export { TokenBucket } from './limit.ts';
export {
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  getEthertype,
  HEADER as ETHERNET_HEADER,
} from './wire.ts';
