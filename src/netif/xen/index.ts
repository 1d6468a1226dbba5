/**
 * `mirage-net-direct/xen`: Xen's network rings as the network interface of a
 * stack, from either side; over the devices of Linux, or over a machine
 * simulated in memory.
 */
export * from './hypervisor.ts';
export { openLinuxHypervisor } from './linux/hypervisor.ts';
export { Netback } from './netback/netback.ts';
export { Netfront } from './netfront/netfront.ts';
export { type NetbackOptions, type NetfrontOptions, openNetback, openNetfront } from './open.ts';
export {
  joinMachine,
  type MachineTicket,
  type MachineUse,
  SimulatedMachine,
  type SimulatedMachineOptions,
} from './simulated/index.ts';
export {
  attachVif,
  backendFolder,
  frontendFolder,
  type NewVif,
  offlineVif,
  removeVif,
  type Vif,
} from './vif.ts';
