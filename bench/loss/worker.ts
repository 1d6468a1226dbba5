/** A process of `runPool`: does the transfers it is sent, simulated or real. */
import { type FairnessOptions, simulateShares } from '../fairness/shares.ts';
import { type Cell, impairments } from './cell.ts';
import { type Duel, runDuel } from './linux.ts';
import { type Controller, simulateCell } from './simulate.ts';

export interface VirtualJob {
  readonly cell: Cell;
  readonly controller: Controller;
  readonly seed: number;
}

export interface DuelJob {
  readonly cell: Cell;
  readonly duel: Duel;
  readonly seconds: number;
  readonly seed: number;
}

export interface SharesJob {
  readonly shares: FairnessOptions;
}

type Job = VirtualJob | DuelJob | SharesJob;

function work(job: Job): Promise<unknown> {
  if ('shares' in job) return simulateShares(job.shares);
  if ('controller' in job) return simulateCell(job.cell, job.controller, job.seed);
  const { cell, duel, seconds, seed } = job;
  return runDuel(duel, { path: impairments(cell), rttMs: cell.rttMs, seconds, seed });
}

process.on('message', async ({ job }: { job: Job }) => {
  try {
    process.send?.({ result: await work(job) });
  } catch (error) {
    process.send?.({
      error: `${JSON.stringify(job)}: ${error instanceof Error ? error.stack : String(error)}`,
    });
  }
});
