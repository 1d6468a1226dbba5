/** Xen in memory: domains of one process, or of several threads. */
export { type MachineUse, SimulatedMachine, type SimulatedMachineOptions } from './machine.ts';
export type { MachineTicket } from './messages.ts';
export { joinMachine } from './remote.ts';
