/**
 * The stack's TCP as packetdrill's interpreters see it: POSIX calls (never
 * blocking), IP datagrams in and out, virtual time. The contract is
 * `ADAPTER.md` beside the interpreter.
 *
 * Runs the built code: `dist/` of the repository, or the directory named by
 * `MIRAGE_DIST`.
 */
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createIpLayer } from './fake-ip.mjs';
import { createXenIpLayer, MODULES as XEN_MODULES } from './xen-ip.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.resolve(process.env.MIRAGE_DIST ?? path.join(here, '../../dist'));
const load = (file) => import(pathToFileURL(path.join(dist, file)).href);

const house = Object.assign(
  {},
  ...(await Promise.all(
    [
      'address/index.js',
      'bytes/index.js',
      'checksum/index.js',
      'netif/netif.js',
      'errors.js',
      'time/index.js',
      'tcp/index.js',
      ...XEN_MODULES,
    ].map(load),
  )),
);

/** `TcpOptions` from the script's sysctls. */
function tcpOptions(knobs) {
  const options = {};
  const take = (knob, use) => {
    if (knobs[knob] !== undefined) use(String(knobs[knob]));
  };
  const isOn = (value) => value !== '0';
  // Three figures are least, initial and most; one is all of them.
  const initial = (value) => {
    const parts = value.trim().split(/\s+/).map(Number);
    return parts[1] ?? parts[0];
  };
  take('sack', (v) => (options.sack = isOn(v)));
  take('timestamps', (v) => (options.timestamps = isOn(v)));
  take('windowScaling', (v) => (options.windowScaling = isOn(v)));
  take('windowScaling+timestamps', (v) => (options.windowScaling = options.timestamps = isOn(v)));
  take('rmem', (v) => (options.receiveBuffer = initial(v)));
  take('wmem', (v) => (options.sendBuffer = initial(v)));
  take('ecn', (v) => (options.ecn = v === '2' ? 'passive' : isOn(v)));
  take('frto', (v) => (options.frto = isOn(v)));
  take('synRetries', (v) => (options.synRetries = Number(v)));
  take('synAckRetries', (v) => (options.synAckRetries = Number(v)));
  take('retries', (v) => (options.dataRetries = Number(v)));
  take('finTimeout', (v) => (options.finTimeoutMs = Number(v) * 1000));
  take('slowStartAfterIdle', (v) => (options.slowStartAfterIdle = isOn(v)));
  take('congestionControl', (v) => (options.congestionControl = v === 'cubic' ? 'cubic' : 'newreno'));
  take('challengeAckLimit', (v) => (options.challengeAckLimit = Number(v)));
  take('rtoMaxMs', (v) => (options.maxRtoMs = Number(v)));
  take('rtoMinUs', (v) => (options.minRtoMs = Number(v) / 1000));
  take('dupThresh', (v) => (options.duplicateThreshold = Number(v)));
  take('tlp', (v) => (options.tailLossProbe = isOn(v)));
  take('rack', (v) => (options.rack = isOn(v)));
  // 2: always, whatever the queue.
  take('syncookies', (v) => {
    options.synCookies = isOn(v);
    if (v === '2') options.synQueue = 0;
  });
  return options;
}

/** `--stack="name=value,..."` in a script: `TcpOptions` for which there is no sysctl. */
function stackOptions(text) {
  const pairs = text.split(',').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const [name, value] = pair.split('=');
      return [
        name,
        /^\d+$/.test(value) ? Number(value) : value === 'true' || (value === 'false' ? false : value),
      ];
    }),
  );
}

const ok = (ret = 0, more = {}) => ({ ret, ...more });
const fail = (errno) => ({ ret: -1, errno });

/** Socket options that are plain numbers of a socket, and what they start with. */
const PLAIN_OPTIONS = {
  SO_REUSEADDR: 0,
  SO_REUSEPORT: 0,
  SO_KEEPALIVE: 0,
  TCP_KEEPIDLE: 7200,
  TCP_KEEPINTVL: 75,
  TCP_KEEPCNT: 9,
  TCP_NODELAY: 0,
  TCP_CORK: 0,
  TCP_USER_TIMEOUT: 0,
  TCP_MAXSEG: 0,
  SO_RCVBUF: 0,
  SO_SNDBUF: 0,
  SO_RCVLOWAT: 1,
  SO_LINGER: null,
  TCP_FASTOPEN_CONNECT: 0,
};
const KEEPALIVE_OPTIONS = ['SO_KEEPALIVE', 'TCP_KEEPIDLE', 'TCP_KEEPINTVL', 'TCP_KEEPCNT'];

/** Those that are `TcpOptions`, fixed when a listener or connection is made. */
const STACK_OPTIONS = { TCP_MAXSEG: 'maxSegment', SO_RCVBUF: 'receiveBuffer', SO_SNDBUF: 'sendBuffer' };

class Socket {
  options = { ...PLAIN_OPTIONS };
  /** Those that the script has set: the rest stay the stack's. */
  isSet = new Set();
  bound = null;
  /** Where a connect with TCP_FASTOPEN_CONNECT goes when there is something to send. */
  deferred = null;
  listener = null;
  connection = null;
  isConnected = false;
  /** As errno; reported once. */
  pendingError = 0;
  failed = false;
  writeShut = false;
  /** What `listen` was told. */
  backlog = 0;
  readShut = false;
  /** Bytes taken from the stack and only peeked at. */
  peeked = null;

  set(name, value) {
    this.options[name] = value;
    this.isSet.add(name);
    if (this.connection) this.apply(name);
  }

  /** `TcpOptions` for `listen` and `connect`. */
  stackOptions() {
    const options = {};
    for (const [name, key] of Object.entries(STACK_OPTIONS)) {
      if (this.isSet.has(name)) options[key] = this.options[name];
    }
    return options;
  }

  apply(name) {
    const value = this.options[name];
    const c = this.connection;
    if (name === 'TCP_NODELAY') c.noDelay = value !== 0;
    else if (name === 'TCP_CORK') c.cork = value !== 0;
    else if (name === 'TCP_USER_TIMEOUT') c.userTimeoutMs = value;
    else if (name === 'SO_LINGER') c.lingerMs = value?.onoff ? value.linger * 1000 : -1;
    else if (KEEPALIVE_OPTIONS.includes(name)) {
      const { SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT } = this.options;
      c.setKeepAlive(SO_KEEPALIVE !== 0, TCP_KEEPIDLE * 1000, TCP_KEEPINTVL * 1000, TCP_KEEPCNT);
    }
  }

  attach(connection, isConnected) {
    this.connection = connection;
    this.isConnected = isConnected;
    connection.handler = {
      connected: () => {
        this.isConnected = true;
      },
      readable() {},
      writable() {},
      finished() {},
      closed: (_, error) => {
        if (error) this.break(error.code);
      },
    };
    for (const name of this.isSet) this.apply(name);
    // It may have failed between handshake and accept.
    if (connection.error) this.break(connection.error.code);
  }

  break(errno) {
    if (this.failed) return;
    this.failed = true;
    this.pendingError = errno;
  }

  takeError() {
    const errno = this.pendingError;
    this.pendingError = 0;
    return errno;
  }

  get readable() {
    return (this.peeked?.length ?? 0) + this.connection.readableBytes;
  }

  /** Up to `length` bytes, or null where there are none. */
  read(length, peek) {
    const parts = this.peeked ? [this.peeked] : [];
    let have = this.peeked?.length ?? 0;
    this.peeked = null;
    while (have < length) {
      const part = this.connection.take(length - have);
      if (part === null) break;
      parts.push(Uint8Array.from(part));
      have += part.length;
    }
    if (have === 0) return null;
    const all = Buffer.concat(parts);
    const given = all.subarray(0, length);
    const rest = peek ? all : all.subarray(length);
    this.peeked = rest.length > 0 ? rest : null;
    return given;
  }
}

/** The Fast Open cookie that scripts give to and expect from a server: it stands for the stack's own. */
const SCRIPT_COOKIE = Uint8Array.from(Buffer.from('3021b9d889017eeb', 'hex'));
const FAST_OPEN_KIND = 34;

/** Puts one cookie in the place of the other, in both directions. */
function createCookieExchange({ IpAddress, sum, complement, pseudoHeaderSum, set16 }, tcp, cfg) {
  const headerLength = cfg.ipVersion === 4 ? 20 : 40;
  const remote = IpAddress.parse(cfg.remote);
  const local = IpAddress.parse(cfg.local);

  function exchange(datagram, from, to, source, destination) {
    const at = headerLength;
    if (datagram.length < at + 20 || datagram[cfg.ipVersion === 4 ? 9 : 6] !== 6) return datagram;
    const end = at + (datagram[at + 12] >> 4) * 4;
    for (let i = at + 20; i < end; ) {
      const kind = datagram[i];
      if (kind === 0) break;
      const size = kind === 1 ? 1 : Math.max(2, datagram[i + 1]);
      if (
        kind === FAST_OPEN_KIND &&
        size === 2 + from.length &&
        from.every((b, k) => b === datagram[i + 2 + k])
      ) {
        datagram.set(to, i + 2);
        set16(datagram, at + 16, 0);
        const pseudo = pseudoHeaderSum(source, destination, 6, datagram.length - at);
        set16(datagram, at + 16, complement(sum(datagram, at, datagram.length, pseudo)));
      }
      i += size;
    }
    return datagram;
  }

  const own = () => tcp.fastOpenCookies.make(remote);
  return {
    toStack: (datagram) => exchange(datagram, SCRIPT_COOKIE, own(), remote, local),
    toScript: (datagram) => exchange(datagram, own(), SCRIPT_COOKIE, local, remote),
  };
}

/** What is below TCP: datagrams as they are, or the stack's own layers and a Xen card: with offloads, in software, without. */
const NETIFS = {
  none: async (options) => createIpLayer(house, options),
  xen: (options) => createXenIpLayer(house, { ...options, offloads: true }),
  'xen-software': (options) => createXenIpLayer(house, { ...options, offloads: 'software' }),
  'xen-no-offloads': (options) => createXenIpLayer(house, { ...options, offloads: false }),
};

/** A `createSut` whose stack is over `netif`, one of {@link NETIFS}. */
export function sutOver(netif) {
  if (!(netif in NETIFS)) throw new Error(`no netif ${netif}, only ${Object.keys(NETIFS).join(', ')}`);
  return (cfg) => makeSut(cfg, NETIFS[netif]);
}

export const createSut = sutOver('none');

async function makeSut(cfg, makeIpLayer) {
  const clock = new house.VirtualClock();
  const timers = new house.TimerWheel(clock);
  const random = new house.SeededRandom(Number(process.env.PACKETDRILL_SEED ?? 1));
  const sut = { virtualClock: true, onTransmit: () => {} };
  const nowUs = () => Math.round(clock.now() * 1000);
  const settle = () => clock.advanceTo(clock.now());
  const ip = await makeIpLayer({
    local: cfg.local,
    mtu: cfg.mtu,
    ipVersion: cfg.ipVersion,
    clock,
    timers,
    random,
    send: (datagram) => sut.onTransmit(cookies.toScript(datagram), nowUs()),
  });
  const tcp = new house.TcpLayer({
    ip: ip.layer,
    clock,
    timers,
    random,
    options: { ...tcpOptions(cfg.knobs ?? {}), ...stackOptions(cfg.config?.stack ?? '') },
  });
  const cookies = createCookieExchange(house, tcp, cfg);

  const sockets = new Map();
  let nextFd = 100;
  const open = (socket) => {
    sockets.set(nextFd, socket);
    return nextFd++;
  };
  /** `use` with what the stack throws turned into errno. */
  const attempt = (use) => {
    try {
      return use();
    } catch (error) {
      if (error instanceof house.NetError) return fail(error.code);
      throw error;
    }
  };
  const relisten = (s) => {
    s.listener?.close();
    s.listener = tcp.listen({
      address: s.bound && !s.bound.address.isUnspecified ? s.bound.address : null,
      port: s.bound?.port ?? 0,
      backlog: s.backlog,
      options: s.stackOptions(),
    });
  };
  const addressOf = (text) => house.IpAddress.parse(text);

  const calls = {
    socket(_domain, type) {
      if (!String(type).includes('SOCK_STREAM')) return fail('EPROTONOSUPPORT');
      return ok(open(new Socket()));
    },
    bind(s, { address, port }) {
      if (s.bound || s.connection || s.listener) return fail('EINVAL');
      s.bound = { address: addressOf(address), port };
      return ok();
    },
    listen(s, backlog) {
      if (s.connection) return fail('EINVAL');
      if (s.listener) return ok();
      s.backlog = backlog;
      return attempt(() => {
        relisten(s);
        return ok();
      });
    },
    accept(s) {
      if (!s.listener) return fail('EINVAL');
      const connection = s.listener.accept();
      if (!connection) return fail('EAGAIN');
      const accepted = new Socket();
      for (const name of s.isSet) {
        accepted.options[name] = s.options[name];
        accepted.isSet.add(name);
      }
      accepted.attach(connection, true);
      const peer = { address: connection.remote.toString(), port: connection.remotePort };
      return ok(open(accepted), { peer });
    },
    connect(s, { address, port }) {
      if (s.connection) return fail(s.isConnected ? 'EISCONN' : 'EALREADY');
      return attempt(() => {
        const where = { remote: addressOf(address), remotePort: port, options: s.stackOptions() };
        if (s.bound) {
          if (!s.bound.address.isUnspecified) where.local = s.bound.address;
          if (s.bound.port !== 0) where.localPort = s.bound.port;
        }
        if (s.options.TCP_FASTOPEN_CONNECT !== 0) {
          s.deferred = where;
          return ok();
        }
        s.attach(tcp.connect(where), false);
        return fail('EINPROGRESS');
      });
    },
    connectStatus(s) {
      if (s.failed) return fail(s.takeError() || 'ECONNABORTED');
      return s.isConnected ? ok() : fail('EINPROGRESS');
    },
    recv(s, length, flags) {
      if (!s.connection) return fail('ENOTCONN');
      const data = s.read(length, String(flags).includes('MSG_PEEK'));
      if (data) return ok(data.length, { data });
      if (s.pendingError) return fail(s.takeError());
      if (s.failed || s.readShut || s.connection.endOfStream) return ok(0, { data: new Uint8Array(0) });
      return fail('EAGAIN');
    },
    send(s, bytes, flags) {
      if (s.pendingError) return fail(s.takeError());
      if (s.writeShut || s.failed) return fail('EPIPE');
      if (s.deferred) {
        return attempt(() => {
          s.attach(tcp.connect({ ...s.deferred, data: Uint8Array.from(bytes) }), false);
          s.deferred = null;
          return ok(bytes.length);
        });
      }
      if (!s.connection) return fail('EPIPE');
      if (!s.isConnected || s.connection.sendSpace <= 0) return fail('EAGAIN');
      const length = Math.min(bytes.length, s.connection.sendSpace);
      return attempt(() => {
        const more = String(flags).includes('MSG_MORE');
        if (more) s.connection.cork = true;
        s.connection.send(Uint8Array.from(bytes.subarray(0, length)));
        if (!more && s.options.TCP_CORK === 0 && s.connection.cork) s.connection.cork = false;
        return ok(length);
      });
    },
    shutdown(s, how) {
      if (!s.connection || !s.isConnected || s.failed) return fail('ENOTCONN');
      if (how !== 'SHUT_WR') s.readShut = true;
      if (how !== 'SHUT_RD') {
        s.writeShut = true;
        s.connection.shutdown();
      }
      return ok();
    },
    close(s, fd) {
      sockets.delete(fd);
      s.listener?.close();
      if (s.connection) {
        s.connection.handler = null;
        // What was peeked at has left the stack's queue and is unread all the same.
        if (s.peeked) s.connection.abort();
        else s.connection.close();
      }
      return ok();
    },
    setsockopt(s, _level, name, value) {
      if (!(name in PLAIN_OPTIONS)) return fail('ENOPROTOOPT');
      s.set(name, value);
      // The stack's listeners are told when they are made.
      if (s.listener && name in STACK_OPTIONS) relisten(s);
      return ok();
    },
    getsockopt(s, _level, name) {
      if (name === 'SO_ERROR') return ok(0, { value: s.takeError() });
      if (name === 'TCP_MAXSEG' && s.connection) return ok(0, { value: s.connection.stats.mss });
      if (!(name in PLAIN_OPTIONS)) return fail('ENOPROTOOPT');
      return ok(0, { value: s.options[name] });
    },
    fcntl: () => ok(),
    ioctl(s, request) {
      if (!s.connection) return fail('EINVAL');
      if (request === 'SIOCINQ' || request === 'FIONREAD') return ok(0, { value: s.readable });
      if (request === 'SIOCOUTQ') return ok(0, { value: s.connection.stats.sendQueue });
      return fail('EINVAL');
    },
  };

  function readiness(s, asked) {
    const is = [];
    if (s.connection) {
      const ended = s.connection.endOfStream && !s.peeked;
      if (s.readable > 0 || ended || s.failed) is.push('POLLIN', 'POLLRDNORM');
      if (ended || s.failed) is.push('POLLRDHUP');
      if (s.failed || (s.isConnected && s.connection.sendSpace > 0)) is.push('POLLOUT', 'POLLWRNORM');
    }
    const answer = is.filter((event) => asked.includes(event));
    if (s.connection) {
      if (s.pendingError) answer.push('POLLERR');
      if (s.failed || (s.connection.endOfStream && s.writeShut)) answer.push('POLLHUP');
    }
    return answer.join('|');
  }

  return Object.assign(sut, {
    now: nowUs,
    async advanceTo(us) {
      clock.advanceTo(us / 1000);
    },
    inject(datagram) {
      ip.receive(cookies.toStack(Uint8Array.from(datagram)));
      settle();
    },
    async settle() {
      settle();
    },
    async call(name, args) {
      if (name === 'poll') {
        const revents = args[0].map(({ fd, events }) => {
          const socket = sockets.get(fd);
          return socket ? readiness(socket, String(events).split('|')) : 'POLLNVAL';
        });
        return ok(revents.filter((events) => events !== '').length, { revents });
      }
      const use = calls[name];
      if (!use) return fail('ENOSYS');
      if (name === 'socket') return use(...args);
      const socket = sockets.get(args[0]);
      if (!socket) return fail('EBADF');
      const result = name === 'close' ? use(socket, args[0]) : use(socket, ...args.slice(1));
      settle();
      return result;
    },
    async dispose() {
      tcp.close();
      await ip.close?.();
    },
  });
}
