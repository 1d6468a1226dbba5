import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  commandLine,
  type DomainDescription,
  libvirtDomain,
  readCommandLine,
  xlConfiguration,
} from '../../../src/cli/build/domain.ts';

const DOMAIN: DomainDescription = {
  name: 'web',
  kernel: '/out/vmlinuz',
  ramdisk: '/out/web.cpio.gz',
  memoryMib: 512,
  vif: 'bridge=br1,mac=00:16:3e:00:00:01',
  words: ['--netif', 'xen:0', '--ip', '10.0.0.2/24', '--', '/srv', '<a & b>'],
};

describe('the kernel’s command line', () => {
  it('has the words of the runner behind two dashes', () => {
    expect(commandLine(DOMAIN.words)).toBe(
      "console=hvc0 quiet panic=-1 -- --netif xen:0 --ip 10.0.0.2/24 -- /srv '<a & b>'",
    );
  });

  it('gives back every word that can be built in', () => {
    const word = fc.string({ minLength: 1 }).filter((text) => !/['"\n]/.test(text));
    fc.assert(
      fc.property(fc.array(word), (words) => {
        // As in /proc/cmdline.
        expect(readCommandLine(`${commandLine(words)}\n`)).toEqual(words);
      }),
    );
  });

  it('without dashes has none', () => {
    expect(readCommandLine('console=hvc0 root=/dev/x--y\n')).toBeNull();
    expect(readCommandLine('console=hvc0 --\n')).toEqual([]);
  });
});

describe('a domain', () => {
  it('is described for xl', () => {
    const text = xlConfiguration(DOMAIN);
    const value = (key: string): string | undefined => new RegExp(`^${key} = (.*)$`, 'm').exec(text)?.[1];
    expect(value('name')).toBe('"web"');
    expect(value('type')).toBe('"pv"');
    expect(value('kernel')).toBe('"/out/vmlinuz"');
    expect(value('ramdisk')).toBe('"/out/web.cpio.gz"');
    expect(value('extra')).toBe(`"${commandLine(DOMAIN.words)}"`);
    expect(value('memory')).toBe('512');
    expect(value('vif')).toBe('[ "bridge=br1,mac=00:16:3e:00:00:01" ]');
  });

  it('is described for libvirt, with nothing that XML would take for its own', () => {
    const text = libvirtDomain(DOMAIN);
    expect(text).toContain('<domain type="xen">');
    expect(text).toContain('<source bridge="br1"/>');
    expect(text).toContain('<mac address="00:16:3e:00:00:01"/>');
    expect(text).toContain('&#60;a &#38; b&#62;');
    expect(text).not.toContain('<a & b>');
    // Every element that is opened is closed.
    const open: string[] = [];
    for (const [, close, name, empty] of text.matchAll(/<(\/?)([a-z_]+)[^>]*?(\/?)>/g)) {
      if (close) expect(open.pop()).toBe(name);
      else if (!empty) open.push(name!);
    }
    expect(open).toEqual([]);
  });
});
