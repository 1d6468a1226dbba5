import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DirectStack } from '../../../src/direct/index.ts';
import type { Flow } from '../../../src/stack.ts';
import { until } from '../support/frames.ts';
import { canTap, KernelHost } from '../support/kernel-host.ts';

const THEIRS = '2001:db8:77::1';
const ATTACK_S = 1;
const HOSTILE = fileURLToPath(new URL('hostile.py', import.meta.url));
const skip =
  canTap() ??
  (existsSync('/usr/bin/atk6-flood_router26') ? null : 'thc-ipv6 is not installed') ??
  (existsSync('/usr/sbin/radvd') ? null : 'radvd is not installed');

type Counts = Record<string, number>;

/** What a name of an attack stands for: a command in the kernel's namespace, and the counter that tells of it. */
interface Attack {
  readonly name: string;
  readonly command: (our: Ours) => string[];
  /** How long it lasts; {@link ATTACK_S} by default. */
  readonly seconds?: number;
  /** Section and counter that has grown by `least`. */
  readonly tells?: readonly [section: string, counter: string, least: number];
}

interface Ours {
  readonly device: string;
  readonly v6: string;
  readonly linkLocal: string;
  readonly v4: string;
  readonly mac: string;
}

const ROGUE_MAC = '02:00:00:00:66:66';

const ATTACKS: readonly Attack[] = [
  {
    name: 'flood_router26',
    command: ({ device }) => ['atk6-flood_router26', device],
    tells: ['ndp', 'inRouterLimited', 100],
  },
  {
    name: 'flood_router26 behind extension headers',
    command: ({ device }) => ['atk6-flood_router26', '-F', device],
    tells: ['ip6', 'ip6InReceives', 100],
  },
  {
    name: 'fake_router26',
    command: ({ device }) => ['atk6-fake_router26', '-A', '2001:db8:bad::/64', device],
    tells: ['ndp', 'inRouterAdvertisements', 1],
  },
  { name: 'kill_router6', command: ({ device }) => ['atk6-kill_router6', device, '*'] },
  {
    name: 'flood_advertise6',
    command: ({ device }) => ['atk6-flood_advertise6', device],
    tells: ['ndp', 'inAdvertisements', 100],
  },
  {
    name: 'flood_solicitate6',
    command: ({ device, v6 }) => ['atk6-flood_solicitate6', device, v6],
    tells: ['ndp', 'inSolicits', 100],
  },
  { name: 'parasite6', command: ({ device }) => ['atk6-parasite6', '-l', device] },
  {
    name: 'fake_advertise6',
    command: ({ device, v6 }) => ['atk6-fake_advertise6', device, THEIRS, v6, ROGUE_MAC],
    tells: ['ndp', 'inAdvertisements', 1],
  },
  {
    name: 'flood_redir6',
    command: ({ device, v6 }) => ['atk6-flood_redir6', device, v6],
    tells: ['ip6', 'ip6InReceives', 10],
  },
  { name: 'flood_mld6', command: ({ device }) => ['atk6-flood_mld6', device] },
  { name: 'flood_mld26', command: ({ device }) => ['atk6-flood_mld26', device] },
  { name: 'flood_mldrouter6', command: ({ device }) => ['atk6-flood_mldrouter6', device] },
  { name: 'ndpexhaust26', command: ({ device, v6 }) => ['atk6-ndpexhaust26', '-r', device, v6] },
  {
    name: 'fragmentation6',
    // It waits for an answer after each of its packets.
    seconds: 4,
    command: ({ device, v6 }) => ['atk6-fragmentation6', device, v6],
    tells: ['ip6', 'ip6ReasmReqds', 1],
  },
  {
    name: 'denial6',
    command: ({ device, v6 }) => ['atk6-denial6', device, v6, '1'],
    tells: ['ip6', 'ip6InReceives', 10],
  },
  { name: 'exploit6', command: ({ device, v6 }) => ['atk6-exploit6', device, v6] },
  {
    name: 'implementation6',
    command: ({ device, v6 }) => ['atk6-implementation6', device, v6],
    tells: ['ip6', 'ip6InReceives', 10],
  },
  {
    name: 'flood_unreach6',
    command: ({ device, v6 }) => ['atk6-flood_unreach6', device, v6],
    tells: ['icmp6', 'icmp6InMsgs', 10],
  },
  { name: 'smurf6', command: ({ device, v6 }) => ['atk6-smurf6', device, v6] },
  { name: 'sendpees6', command: ({ device, v6 }) => ['atk6-sendpees6', device, '1024', '2001:db8:77::', v6] },
  ...['arp', 'igmp', 'fragments', 'dhcp', 'dns'].map((kind): Attack => {
    const tells = {
      arp: ['arp', 'inReplies', 10],
      igmp: ['igmp', 'igmpInLimited', 10],
      fragments: ['ip', 'ipReasmReqds', 10],
      dhcp: ['udp', 'udpNoPorts', 1],
      dns: ['udp', 'udpNoPorts', 1],
    } as const;
    return {
      name: `hostile.py ${kind}`,
      // It ends by itself; this is for the interpreter to start.
      seconds: 15,
      command: ({ device, v4, mac }) => [
        'python3',
        HOSTILE,
        kind,
        device,
        mac,
        v4,
        '10.77.0.1',
        `${ATTACK_S}`,
      ],
      tells: tells[kind as keyof typeof tells],
    };
  }),
];

describe.skipIf(skip !== null)(`a hostile link${skip === null ? '' : ` (${skip})`}`, () => {
  let folder: string;
  let host: KernelHost;
  let stack: DirectStack;
  let our: Ours;
  /** One connection of each family that goes on all the while. */
  const flows: { flow: Flow; rounds: number; error: unknown }[] = [];

  const counts = (section: string): Counts => stack.statistics()[section] as Counts;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mirage-net-test-'));
    host = new KernelHost({ ipv6: `${THEIRS}/64` });
    await host.exec('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
    const configuration = join(folder, 'radvd.conf');
    await writeFile(
      configuration,
      `interface ${host.device} { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;
         prefix 2001:db8:77::/64 { }; };`,
    );
    host.spawn('radvd', ['-n', '-C', configuration, '-p', join(folder, 'pid'), '-m', 'stderr']);
    stack = new DirectStack({ netif: host.tap, ipv4: '10.77.0.2/24', ipv6: 'auto', mdns: true });
    await stack.ready();
    const addresses = () => stack.network.interfaces[0]!.ipv6!.addresses.all;
    await until(
      'an address',
      () => addresses().some((own) => own.origin === 'advertised' && own.isAssigned),
      15_000,
    );
    our = {
      device: host.device,
      v6: `${addresses().find((own) => own.origin === 'advertised')!.address}`,
      linkLocal: `${addresses().find((own) => own.origin === 'link-local')!.address}`,
      v4: '10.77.0.2',
      mac: `${host.tap.mac}`,
    };
    host.spawn('socat', ['TCP6-LISTEN:7,fork,reuseaddr', 'EXEC:cat']);
    for (const address of [THEIRS, '10.77.0.1']) {
      const flow = await connect(address);
      const echo = { flow, rounds: 0, error: null as unknown };
      flows.push(echo);
      goOn(echo).catch((error) => {
        echo.error = error;
      });
    }
  });

  afterAll(async () => {
    for (const { flow } of flows) flow.abort();
    await stack?.close();
    await host?.close();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  async function connect(address: string): Promise<Flow> {
    for (let tries = 0; ; tries++) {
      try {
        return await stack.tcp.connect({ host: address, port: 7 });
      } catch (error) {
        if (tries === 50) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async function goOn(echo: { flow: Flow; rounds: number }): Promise<void> {
    const sent = Buffer.alloc(2000, 'echo');
    for (;;) {
      await echo.flow.write(sent);
      for (let got = 0; got < sent.length; ) {
        const chunk = await echo.flow.read();
        if (chunk === null) throw new Error('the stream ended');
        got += chunk.length;
      }
      echo.rounds++;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  it.each(ATTACKS.map((attack) => [attack.name, attack] as const))(
    '%s: traffic goes on, within all limits',
    async (_, { command, seconds = ATTACK_S, tells }) => {
      const [section, counter, least] = tells ?? ['ip6', 'ip6InReceives', 0];
      const before = counts(section)[counter]!;
      const roundsBefore = flows.map(({ rounds }) => rounds);
      await host.exec('timeout', ['-s', 'KILL', `${seconds}`, ...command(our)], {
        allowFailure: true,
        timeout: 20_000,
      });
      expect(flows.map(({ error }) => error)).toEqual([null, null]);
      // Both connections made progress while it went on, though it fills the queue that they share, and make it still.
      const roundsDuring = flows.map(({ rounds }) => rounds);
      for (const [i, rounds] of roundsDuring.entries()) expect(rounds).toBeGreaterThan(roundsBefore[i]!);
      await until('more', () => flows.every(({ rounds }, i) => rounds > roundsDuring[i]! + 5), 10_000);
      expect(counts(section)[counter]! - before).toBeGreaterThanOrEqual(least);
      const { entries, addresses, routes, groups } = counts('ndp') as Counts;
      expect(entries).toBeLessThanOrEqual(512);
      // Its own link-local one, and those of sixteen prefixes.
      expect(addresses).toBeLessThanOrEqual(17);
      expect(routes).toBeLessThanOrEqual(70);
      expect(groups).toBeLessThanOrEqual(20);
      expect(counts('arp').entries).toBeLessThanOrEqual(512);
      for (const [ip, prefix] of [
        ['ip6', 'ip6'],
        ['ip', 'ip'],
      ] as const) {
        expect(counts(ip)[`${prefix}ReasmPending`]).toBeLessThanOrEqual(256);
        expect(counts(ip)[`${prefix}ReasmPendingBytes`]).toBeLessThanOrEqual(4 << 20);
      }
    },
    60_000,
  );

  it('still has its addresses and its neighbours afterwards, and makes new connections', async () => {
    expect(
      stack.network.isLocal((await import('../../../src/address/index.ts')).IpAddress.parse(our.v6)),
    ).toBe(true);
    for (const address of [THEIRS, '10.77.0.1']) {
      const flow = await stack.tcp.connect({ host: address, port: 7 });
      await flow.write(Buffer.from('still here'));
      expect(String(await flow.read())).toBe('still here');
      await flow.close();
    }
    await host.exec('ping', ['-6', '-c', '3', '-i', '0.2', our.v6]);
  });

  it('gives up where every address that it asks for is said to be taken', async () => {
    const other = new KernelHost({ ipv6: '2001:db8:78::1/64' });
    try {
      const attacker = other.spawn('atk6-dos-new-ip6', [other.device]);
      let said = '';
      attacker.stdout!.on('data', (chunk) => {
        said += chunk;
      });
      await until('the attacker', () => /Started/i.test(said), 10_000);
      const victim = new DirectStack({ netif: other.tap, ipv4: '10.77.0.2/24', ipv6: '2001:db8:78::2/64' });
      await expect(victim.ready()).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
      await victim.close();
    } finally {
      await other.close();
    }
  }, 60_000);
});
