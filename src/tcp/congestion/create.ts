import type { Random } from '../../time/random.ts';
import type { TcpConfig } from '../config.ts';
import { Bbr } from './bbr.ts';
import type { Congestion } from './congestion.ts';
import { Cubic } from './cubic.ts';
import { NewReno } from './newreno.ts';

/** The algorithm that `config` names, for segments of `segment` bytes until the path is known. */
export function createCongestion(config: TcpConfig, segment: number, random: Random): Congestion {
  const initialWindow = config.initialWindow * segment;
  switch (config.congestionControl) {
    case 'newreno':
      return new NewReno(segment, initialWindow);
    case 'cubic':
      return new Cubic(segment, initialWindow);
    case 'bbr':
      return new Bbr(segment, initialWindow, random);
  }
}
