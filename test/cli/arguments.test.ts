import { describe, expect, it } from 'vitest';
import { MacAddress } from '../../src/address/index.ts';
import { parseCommand, parseImpairment, UsageError } from '../../src/cli/index.ts';

const words = (line: string): string[] => line.split(' ').filter((word) => word !== '');

describe('mirage-net build', () => {
  it('reads what a domain is made of', () => {
    const line =
      'build dir/app.ts --target xen --out image --ip 10.0.0.2/24 --include ./public:/srv --include data --memory 256 --vif bridge=br0 --no-offloads -- /srv';
    expect(parseCommand(words(line))).toEqual({
      kind: 'build',
      options: {
        target: 'xen',
        app: 'dir/app.ts',
        name: 'app',
        out: 'image',
        words: ['--netif', 'xen:0', '--no-offloads', '--ip', '10.0.0.2/24', '--', '/srv'],
        memoryMib: 256,
        vif: 'bridge=br0',
        include: [
          { source: './public', target: '/srv' },
          { source: 'data', target: 'data' },
        ],
      },
    });
  });

  it('reads what a process is made of', () => {
    const line =
      'build app.ts --target unix --name web --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 --user 1000';
    expect(parseCommand(words(line))).toEqual({
      kind: 'build',
      options: {
        target: 'unix',
        app: 'app.ts',
        name: 'web',
        out: '.',
        words: ['--netif', 'tap:mnd0', '--host-ip', '10.0.0.1/24', '--ip', '10.0.0.2/24', '--'],
        user: '1000',
      },
    });
  });
});

describe('mirage-net xen', () => {
  it('reads which card', () => {
    expect(parseCommand(words('xen attach'))).toEqual({
      kind: 'xen',
      options: { action: 'attach', index: 0 },
    });
    expect(
      parseCommand(words('xen attach --frontend 3 --backend 1 --index 2 --mac 00:16:3e:00:00:01 --mtu 9000')),
    ).toEqual({
      kind: 'xen',
      options: {
        action: 'attach',
        frontend: 3,
        backend: 1,
        index: 2,
        mac: MacAddress.parse('00:16:3e:00:00:01'),
        mtu: 9000,
      },
    });
    expect(parseCommand(words('xen detach --frontend 3'))).toEqual({
      kind: 'xen',
      options: { action: 'detach', frontend: 3, index: 0 },
    });
    expect(parseCommand(words('xen --help'))).toEqual({ kind: 'help', topic: 'xen' });
  });
});

describe('mirage-net run', () => {
  it('reads a command line for the direct stack', () => {
    const line =
      'run app.ts --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 --gateway 10.0.0.1 --pcap a.pcap --snaplen 96 --no-offloads --stats -- --port 80 dir';
    expect(parseCommand(words(line))).toEqual({
      kind: 'run',
      options: {
        net: 'direct',
        app: 'app.ts',
        args: ['--port', '80', 'dir'],
        netif: { kind: 'tap', name: 'mnd0' },
        offloads: false,
        hostIp: '10.0.0.1/24',
        ip: '10.0.0.2/24',
        gateway: '10.0.0.1',
        pcap: 'a.pcap',
        snapLength: 96,
        stats: true,
      },
    });
  });

  it.each([
    ['--offloads on', true],
    ['--offloads=off', false],
    ['--offloads software', 'software'],
    ['', true],
  ])('takes offloads as told by "%s"', (words, offloads) => {
    const line = `run app.js --netif xen:0 --ip 10.0.0.2/24 ${words}`.trim();
    expect(parseCommand(line.split(' '))).toMatchObject({ options: { offloads } });
  });

  it('takes a descriptor in place of a name, and keeps offloads on', () => {
    expect(parseCommand(words('run --netif fd:3 --ip 10.0.0.2/24 app.js'))).toEqual({
      kind: 'run',
      options: {
        net: 'direct',
        app: 'app.js',
        args: [],
        netif: { kind: 'fd', fd: 3 },
        offloads: true,
        ip: '10.0.0.2/24',
        stats: false,
      },
    });
  });

  it.each([
    ['stream:/run/x.sock', { listen: false, path: '/run/x.sock' }],
    ['stream:listen:/run/x.sock', { listen: true, path: '/run/x.sock' }],
    ['stream:tcp:127.0.0.1:5555', { listen: false, host: '127.0.0.1', port: 5555 }],
    ['stream:listen:tcp:[::1]:0', { listen: true, host: '::1', port: 0 }],
  ])('takes %s', (text, netif) => {
    expect(parseCommand(words(`run --netif ${text} --ip dhcp --ip6 auto app.js`))).toMatchObject({
      options: { netif: { kind: 'stream', ...netif }, ip: 'dhcp', ip6: 'auto' },
    });
  });

  it('takes a card of Xen, from either end', () => {
    const netif = (word: string) => {
      const command = parseCommand(words(`run app.js --netif ${word} --ip 10.0.0.2/24`));
      return command.kind === 'run' && command.options.net === 'direct' ? command.options.netif : null;
    };
    expect(netif('xen:0')).toEqual({ kind: 'xen', index: 0 });
    expect(netif('xen:12')).toEqual({ kind: 'xen', index: 12 });
    expect(netif('vif:3.1')).toEqual({ kind: 'vif', frontend: 3, index: 1 });
  });

  it("reads a command line for the host's sockets", () => {
    expect(parseCommand(words('run app.js --net socket -- a -- b'))).toEqual({
      kind: 'run',
      options: { net: 'socket', app: 'app.js', args: ['a', '--', 'b'], stats: false },
    });
  });

  it.each([
    ['run', /Which application/],
    ['run app.js extra --net socket', /mirage-net run app.js … -- extra/],
    ['run app.js --ip 10.0.0.2/24', /--netif tap:mnd0/],
    ['run app.js --netif tap:mnd0', /--ip 10.0.0.2\/24/],
    ['run app.js --netif tap: --ip 10.0.0.2/24', /name of the device/],
    ['run app.js --netif fd:x --ip 10.0.0.2/24', /whole number/],
    ['run app.js --netif xen: --ip 10.0.0.2/24', /whole number/],
    ['run app.js --netif xen:eth0 --ip 10.0.0.2/24', /whole number/],
    ['run app.js --netif xen:0 --ip 10.0.0.2/24 --host-ip 10.0.0.1/24', /another domain/],
    ['run app.js --netif vif:0 --ip 10.0.0.2/24', /vif:3.0/],
    ['run app.js --netif vif:99999.0 --ip 10.0.0.2/24', /0 to 32751/],
    ['build', /Which application/],
    ['build app.js --ip 10.0.0.2/24 --netif tap:a', /--target is xen .* or unix/],
    ['build app.js --target xen', /--ip 10.0.0.2\/24/],
    ['build app.js more --target xen --ip 10.0.0.2/24', /one word too many/],
    ['build app.js --target xen --netif tap:a --ip 10.0.0.2/24', /--netif xen:INDEX/],
    ['build app.js --target xen --ip 10.0.0.2/24 --user nobody', /--user is of --target unix/],
    ['build app.js --target xen --ip 10.0.0.2/24 --memory 1', /128 to/],
    [`build app.js --target xen --ip 10.0.0.2/24 -- it's`, /quotation/],
    ['build app.js --target unix --netif fd:3 --ip 10.0.0.2/24', /--netif tap:NAME/],
    ['build app.js --target unix --netif tap:a --ip 10.0.0.2/24 --vif bridge=b', /--vif is of --target xen/],
    ['build app.js --target unix --netif tap:a --netif tap:b --ip 10.0.0.2/24', /one --netif/],
    ['build .js --target unix --netif tap:a --ip 10.0.0.2/24 --name a/b', /--name/],
    ['xen', /attach.*detach/],
    ['xen plug', /attach.*detach/],
    ['xen attach now', /attach.*detach/],
    ['xen attach --index -1', /index/],
    ['xen attach --mac ff:ff:ff:ff:ff:ff', /one station/],
    ['xen attach --mac eth0', /one station/],
    ['xen attach --mtu 10', /68 to 65517/],
    ['xen detach --mtu 1500', /which/],
    ['run app.js --netif stream: --ip 10.0.0.2/24', /path of a UNIX socket/],
    ['run app.js --netif stream:tcp:host --ip 10.0.0.2/24', /stream:tcp:127.0.0.1:5555/],
    ['run app.js --netif stream:tcp:host:0 --ip 10.0.0.2/24', /from 1 to 65535/],
    ['run app.js --netif stream:/x --ip 10.0.0.2/24 --host-ip 10.0.0.1/24', /another program/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --ip6 fd00::2', /fd00::2\/64/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --ip6 10.0.0.3/24', /fd00::2\/64/],
    ['run app.js --netif eth0 --ip 10.0.0.2/24', /tap:NAME/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --host-ip dhcp', /the kernel's end/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2', /10.0.0.2\/24/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/33', /prefix length/],
    ['run app.js --netif tap:mnd0 --ip fd00::2/64', /IPv6 has --ip6/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --gateway x', /IPv4 address/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --snaplen 96', /no --pcap/],
    ['run app.js --net socket --pcap x.pcap', /--pcap does not apply to --net socket/],
    ['run app.js --net socket --netif tap:mnd0', /--netif does not apply to --net socket/],
    ['run app.js --net socket --no-offloads', /--no-offloads does not apply/],
    ['run app.js --net socket --offloads software', /--offloads does not apply/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --offloads yes', /"on", "off" or "software"/],
    ['run app.js --netif tap:mnd0 --ip 10.0.0.2/24 --offloads on --no-offloads', /give one of them/],
    ['run app.js --net kernel', /"direct".*"socket"/],
    ['run app.js --bogus', /bogus/],
    ['walk', /no command "walk"/],
    ['demo --seconds 0', /1 to 60/],
  ])('%s is wrong usage', (line, complaint) => {
    const parse = (): unknown => parseCommand(words(line));
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(complaint);
  });

  it.each([
    ['', 'mirage-net'],
    ['help', 'mirage-net'],
    ['--help', 'mirage-net'],
    ['help run', 'run'],
    ['run --help', 'run'],
    ['run app.js -h', 'run'],
    ['demo -h', 'demo'],
  ])('"%s" asks for help', (line, topic) => {
    expect(parseCommand(words(line))).toEqual({ kind: 'help', topic });
  });
});

describe('--impair', () => {
  it('reads every impairment', () => {
    const text = 'loss=1%,delay=30ms,jitter=10ms,reorder=0.02,duplicate=0.5%,corrupt=0.1,rate=100mbit,seed=7';
    expect(parseImpairment(text)).toEqual({
      seed: 7,
      impairments: {
        loss: 0.01,
        delayMs: 30,
        jitterMs: 10,
        reorder: { probability: 0.02, delayMs: 30 },
        duplicate: 0.005,
        corrupt: 0.1,
        rateBps: 1e8,
      },
    });
  });

  it('knows the units', () => {
    expect(parseImpairment('delay=500us').impairments).toEqual({ delayMs: 0.5 });
    expect(parseImpairment('delay=1.5s,rate=56kbit').impairments).toEqual({ delayMs: 1500, rateBps: 56_000 });
    expect(parseImpairment('reorder=1%').impairments).toEqual({ reorder: { probability: 0.01, delayMs: 5 } });
  });

  it.each([
    ['speed=1', /does not know "speed"/],
    ['toString=1', /does not know/],
    ['loss', /share of the packets/],
    ['loss=2', /share of the packets/],
    ['loss=101%', /share of the packets/],
    ['loss=-1%', /share of the packets/],
    ['delay=30', /with its unit/],
    ['rate=0mbit', /bits per second/],
    ['rate=100', /bits per second/],
    ['seed=x', /whole number/],
    ['loss=1%,loss=2%', /twice/],
  ])('%s is refused', (text, complaint) => {
    expect(() => parseImpairment(text)).toThrow(UsageError);
    expect(() => parseImpairment(text)).toThrow(complaint);
  });
});

describe('mirage-net iperf3', () => {
  it('reads a client in the words of iperf3, on a stack in those of run', () => {
    const line = 'iperf3 -c 10.0.0.1 -P 4 -R -t 5 -l 64K -b 1G -i 0.5 -J --netif tap:mnd0 --ip 10.0.0.2/24';
    expect(parseCommand(words(line))).toMatchObject({
      kind: 'iperf3',
      stack: { net: 'direct', netif: { kind: 'tap', name: 'mnd0' } },
      test: {
        role: 'client',
        host: '10.0.0.1',
        port: 5201,
        intervalSeconds: 0.5,
        json: true,
        test: {
          protocol: 'tcp',
          direction: 'reverse',
          parallel: 4,
          seconds: 5,
          blockBytes: 65_536,
          rateBps: 1e9,
        },
      },
    });
  });

  it('reads a server', () => {
    expect(parseCommand(words('iperf3 -s -1 -p 5300 --net socket'))).toMatchObject({
      kind: 'iperf3',
      stack: { net: 'socket' },
      test: { role: 'server', port: 5300, oneOff: true },
    });
  });

  it.each([
    ['', /Which end/],
    ['-s -c 10.0.0.1', /not both/],
    ['-s -u', /--udp is the client's to say/],
    ['-c 10.0.0.1 -R --bidir', /not both/],
    ['-c 10.0.0.1 -t 1 -n 1M', /one of them ends the test/],
    ['-c 10.0.0.1 -n 1M -O 1', /--omit goes with --time/],
    ['-c 10.0.0.1 -l 64K -u', /--length 64K/],
    ['-c 10.0.0.1 -1', /options of the server/],
    ['-c 10.0.0.1 -P 129', /whole number from 1 to 128/],
  ])('says what is wrong with: iperf3 %s', (line, message) => {
    const parse = () => parseCommand(words(`iperf3 ${line} --net socket`));
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(message);
  });
});
