/** ARP for Ethernet and IPv4 (RFC 826): 28 bytes. */
import { get16, get32, set16, set32 } from '../bytes/index.ts';

export const HARDWARE_TYPE = 0;
export const PROTOCOL_TYPE = 2;
export const HARDWARE_LENGTH = 4;
export const PROTOCOL_LENGTH = 5;
export const OPERATION = 6;
export const SENDER_MAC = 8;
export const SENDER_IP = 14;
export const TARGET_MAC = 18;
export const TARGET_IP = 24;
/** Bytes of packet. */
export const LENGTH = 28;

export const REQUEST = 1;
export const REPLY = 2;

/** Hardware type 1 (Ethernet), protocol type 0x0800, lengths 6 and 4. */
export function isEthernetIpv4(bytes: Uint8Array, packet: number): boolean {
  return (
    get32(bytes, packet + HARDWARE_TYPE) === 0x00010800 && get16(bytes, packet + HARDWARE_LENGTH) === 0x0604
  );
}

export function setEthernetIpv4(bytes: Uint8Array, packet: number): void {
  set32(bytes, packet + HARDWARE_TYPE, 0x00010800);
  set16(bytes, packet + HARDWARE_LENGTH, 0x0604);
}

export function getOperation(bytes: Uint8Array, packet: number): number {
  return get16(bytes, packet + OPERATION);
}

export function setOperation(bytes: Uint8Array, packet: number, operation: number): void {
  set16(bytes, packet + OPERATION, operation);
}

export function getSenderIp(bytes: Uint8Array, packet: number): number {
  return get32(bytes, packet + SENDER_IP);
}

export function setSenderIp(bytes: Uint8Array, packet: number, address: number): void {
  set32(bytes, packet + SENDER_IP, address);
}

export function getTargetIp(bytes: Uint8Array, packet: number): number {
  return get32(bytes, packet + TARGET_IP);
}

export function setTargetIp(bytes: Uint8Array, packet: number, address: number): void {
  set32(bytes, packet + TARGET_IP, address);
}
