import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { DirectStack, MacAddress } from 'mirage-net-direct';
import {
  attachVif,
  backendFolder,
  frontendFolder,
  offlineVif,
  openNetback,
  openNetfront,
  removeVif,
} from 'mirage-net-direct/xen';
import webServer from '../../../examples/web-server.ts';
import { expect, run, until, within } from './support.mjs';

export const VIF = { frontend: 0, backend: 0, index: 0 };
export const OURS = '10.0.0.2';
export const KERNELS = '10.0.0.1';
export const WWW = '/tmp/www';

/** Plugs the card in, as a toolstack does. */
export async function attach(store, mtu) {
  const mac = MacAddress.parse('00:16:3e:00:00:02');
  await attachVif(store, { ...VIF, mac, ...(mtu !== undefined && { mtu }) });
}

export async function detach(store) {
  await offlineVif(store, VIF);
  await removeVif(store, VIF);
}

export async function states(store) {
  const read = async (folder) => Number((await store.read(`${folder}/state`)) ?? 0);
  return { front: await read(frontendFolder(VIF)), back: await read(backendFolder(VIF)) };
}

/** The kernel's end: the interface of its backend (where ours is the `front`) or of its frontend; null if there is none. */
export function kernelInterface(role) {
  const folder =
    role === 'front' ? '/sys/bus/xen-backend/devices/vif-0-0/net' : '/sys/bus/xen/devices/vif-0/net';
  try {
    return readdirSync(folder)[0] ?? null;
  } catch (error) {
    // The kernel takes it away at any time.
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

/** Brings up the kernel's end, once it is there. */
export async function configure(role, mtu = 1500) {
  const device = await until("the kernel's interface", () => kernelInterface(role));
  await run('ip', 'link', 'set', device, 'mtu', `${mtu}`);
  await run('ip', 'addr', 'replace', `${KERNELS}/24`, 'dev', device);
  await run('ip', 'link', 'set', device, 'up');
}

/** Our end in this process, with the web server of the examples. */
export class End {
  #netif;
  #stack;

  static async open(hypervisor, role, options = {}) {
    const end = new End();
    const common = { hypervisor, index: VIF.index, timeoutMs: 300_000, ...options };
    end.#netif =
      role === 'front'
        ? await openNetfront(common)
        : await openNetback({ ...common, frontend: VIF.frontend });
    end.#stack = new DirectStack({ netif: end.#netif, ipv4: `${OURS}/24` });
    await end.#stack.ready();
    await webServer(end.#stack, [WWW]);
    return end;
  }

  get terms() {
    const { mtu, transmit } = this.#netif;
    return `MTU ${mtu}, checksum ${transmit.checksum}, segments of ${transmit.segmentation}`;
  }

  get counters() {
    return this.#netif.counters;
  }

  close() {
    return this.#stack.close();
  }
}

/** Our end, as a process. */
export class Peer {
  #lines = [];
  #child;
  #exit;

  constructor(role, options = {}) {
    const argument = JSON.stringify({ role, vif: VIF, address: `${OURS}/24`, folder: WWW, options });
    this.#child = spawn(process.execPath, ['peer.mjs', argument], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#exit = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => resolve(signal ?? code));
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (line.startsWith('PEER ')) this.#lines.push(line.slice(5));
      console.log(line);
    });
  }

  get lines() {
    return this.#lines;
  }

  /** What follows the word `word` that it prints. */
  async says(word, seconds = 300) {
    const line = await until(
      `the peer's word "${word}"`,
      () => this.#lines.find((each) => each.startsWith(word)) ?? (this.#child.exitCode !== null && 'over'),
      seconds,
    );
    if (line === 'over') throw new Error(`our end ended with ${await this.#exit} before it said "${word}"`);
    return line.slice(word.length + 1);
  }

  async ready() {
    return JSON.parse(await this.says('ready'));
  }

  /** Closes in order; gives its counters. */
  async close() {
    this.#child.kill('SIGTERM');
    const counters = JSON.parse(await this.says('closed'));
    expect(await within(60, 'the end of our process', this.#exit), 0, 'its exit code');
    return counters;
  }

  async kill() {
    this.#child.kill('SIGKILL');
    await this.#exit;
  }
}

export async function ping(count = 5, ...options) {
  const text = await run('ping', '-c', `${count}`, '-i', '0.2', '-W', '5', ...options, OURS);
  const summary = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(text);
  if (summary?.[1] !== summary?.[2]) throw new Error(text);
  return /= (\S+ ms)/.exec(text)?.[1];
}

/** Fetches the file and sends it back, and compares the hashes with `hash`. */
export async function transfer(hash, mib) {
  const seconds = async (task) => {
    const begin = performance.now();
    const result = await task();
    return [result, (performance.now() - begin) / 1000];
  };
  const url = `http://${OURS}/file`;
  const [down, downSeconds] = await seconds(() =>
    run('sh', '-c', `set -o pipefail; curl -sS --fail --max-time 900 ${url} | sha256sum`),
  );
  expect(down.slice(0, 64), hash, 'the hash of what curl fetched');
  const [up, upSeconds] = await seconds(() =>
    run('curl', '-sS', '--fail', '--max-time', '900', '-T', `${WWW}/file`, url),
  );
  expect(up.slice(0, 64), hash, 'the hash that our end computed');
  const rate = (time) => `${((mib * 8.388608) / time).toFixed(1)} Mbit/s`;
  return `from us ${rate(downSeconds)}, to us ${rate(upSeconds)}`;
}
