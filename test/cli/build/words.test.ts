import { describe, expect, it } from 'vitest';
import { mergeWords } from '../../../src/cli/unikernel/words.ts';

const merge = (built: string, given: string): string =>
  mergeWords(
    built.split(' '),
    given.split(' ').filter((word) => word !== ''),
  ).join(' ');

describe('words given to a unikernel', () => {
  const BUILT = '--netif tap:a --netif tap:b --no-offloads --ip 10.0.0.2/24 -- /srv';

  it('are those built in where there are none', () => {
    expect(merge(BUILT, '')).toBe(BUILT);
    expect(merge('--ip 10.0.0.2/24', '')).toBe('--ip 10.0.0.2/24 --');
  });

  it('replace all options of their name, and leave the others', () => {
    expect(merge(BUILT, '--netif=tap:c')).toBe('--no-offloads --ip 10.0.0.2/24 --netif=tap:c -- /srv');
    expect(merge(BUILT, '--ip 10.0.0.3/24 --no-offloads')).toBe(
      '--netif tap:a --netif tap:b --ip 10.0.0.3/24 --no-offloads -- /srv',
    );
  });

  it('replace the arguments of the application all together', () => {
    expect(merge(BUILT, '-- --port 8080 /x')).toBe(
      '--netif tap:a --netif tap:b --no-offloads --ip 10.0.0.2/24 -- --port 8080 /x',
    );
    expect(merge(BUILT, '--')).toBe('--netif tap:a --netif tap:b --no-offloads --ip 10.0.0.2/24 --');
  });
});
