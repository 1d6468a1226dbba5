/** A process of `runPool`: simulates the transfers it is sent. */
import type { Cell } from './cell.ts';
import { type Controller, simulateCell } from './simulate.ts';

export interface Job {
  readonly cell: Cell;
  readonly controller: Controller;
  readonly seed: number;
}

process.on('message', async ({ job }: { job: Job }) => {
  try {
    process.send?.({ result: await simulateCell(job.cell, job.controller, job.seed) });
  } catch (error) {
    process.send?.({
      error: `${JSON.stringify(job)}: ${error instanceof Error ? error.stack : String(error)}`,
    });
  }
});
