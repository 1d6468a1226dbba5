import { describe, expect, it } from 'vitest';
import { parseCommand, UsageError } from '../../src/cli/index.ts';

const parse = (line: string) => parseCommand(line.split(' ').filter((word) => word !== ''));

describe('mirage-net router', () => {
  it('reads what each interface is told', () => {
    expect(
      parse(
        'router --napt wan --control /run/r.sock --netif tap:lan,ip=10.1.0.1/24,ip6=fd00:1::1/64,advertise ' +
          '--netif tap:eth,name=wan,vlan=7,ip=dhcp,metric=5 --netif stream:/tmp/a,b.sock,ip=10.3.0.1/24',
      ),
    ).toEqual({
      kind: 'router',
      stack: {
        net: 'direct',
        stats: false,
        netif: { kind: 'tap', name: 'lan' },
        offloads: true,
        ip: '10.1.0.1/24',
        ip6: 'fd00:1::1/64',
        first: { ip: '10.1.0.1/24', ip6: 'fd00:1::1/64', advertise: true },
        others: [
          { netif: { kind: 'tap', name: 'eth' }, name: 'wan', vlan: 7, ip: 'dhcp', metric: 5 },
          { netif: { kind: 'stream', listen: false, path: '/tmp/a,b.sock' }, ip: '10.3.0.1/24' },
        ],
        forward: true,
        napt: 'wan',
        control: '/run/r.sock',
      },
    });
  });

  it.each([
    ['router --netif tap:a,ip=10.0.0.1/24', 'twice'],
    ['router --netif tap:a,ip=10.0.0.1/24 --netif tap:b,ip=nonsense', 'ip=nonsense'],
    ['router --netif tap:a,ip=10.0.0.1/24 --netif tap:b --napt c', 'only a, b'],
    ['router --netif tap:a,ip=10.0.0.1/24 --netif tap:b,vlan=4095', 'vlan'],
    ['router --netif tap:a,ip=10.0.0.1/24 --netif tap:b,ip6=10.0.0.1/24', 'ip6='],
    ['router --netif tap:a,ip=10.0.0.1/24 --netif tap:b,gateway6=10.0.0.1', 'gateway6='],
    ['router --net socket', 'no'],
    ['run app.js --netif tap:a --ip 10.0.0.1/24 --gateway6 10.0.0.2', '--gateway6'],
    ['run app.js --net socket --forward', '--forward'],
    ['run app.js --workers 2 --netif tap:a,ip=10.0.0.1/24 --netif tap:b', '--workers'],
  ])('refuses %s', (line, text) => {
    expect(() => parse(line)).toThrow(UsageError);
    expect(() => parse(line)).toThrow(text);
  });
});

describe('mirage-net ping', () => {
  const stack = '--netif tap:a --ip 10.0.0.1/24';

  it('reads the words of ping', () => {
    expect(parse(`ping -c 3 -i 0.2 -s 100 -t 5 -W 2 -q -6 -M host ${stack}`)).toMatchObject({
      kind: 'ping',
      ping: {
        host: 'host',
        count: 3,
        intervalMs: 200,
        size: 100,
        hopLimit: 5,
        waitMs: 2000,
        quiet: true,
        family: 'IPv6',
        dontFragment: true,
      },
    });
    expect(parse(`ping host ${stack}`)).toMatchObject({
      ping: { count: null, intervalMs: 1000, size: 56, quiet: false, dontFragment: false },
    });
  });

  it.each([
    [`ping ${stack}`, 'whom'],
    [`ping a b ${stack}`, 'too many'],
    [`ping a -4 -6 ${stack}`, 'exclude'],
    [`ping a -i never ${stack}`, 'interval'],
    [`ping a -s 70000 ${stack}`, 'size'],
    ['ping a --net socket', 'socket'],
  ])('refuses %s', (line, text) => {
    expect(() => parse(line)).toThrow(UsageError);
    expect(() => parse(line)).toThrow(text);
  });
});

describe('mirage-net arp, routes, stats', () => {
  it('read where to ask', () => {
    expect(parse('arp --control /run/a.sock')).toEqual({
      kind: 'control',
      options: { question: 'arp', path: '/run/a.sock', json: false },
    });
    expect(parse('stats --json --control a')).toMatchObject({ options: { question: 'stats', json: true } });
    expect(parse('routes --help')).toEqual({ kind: 'help', topic: 'control' });
    expect(() => parse('routes')).toThrow('--control PATH');
  });
});
