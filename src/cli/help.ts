const HELP = {
  'mirage-net': `mirage-net runs network applications on a TCP/IP stack inside their own process.

Usage
  mirage-net run APP [options] [-- ARGUMENTS]   run an application
  mirage-net build APP --target xen|unix        make a unikernel of an application
  mirage-net router [options]                   pass packets on between interfaces
  mirage-net ping HOST [options]                see whether a host answers
  mirage-net arp|routes|stats --control PATH    look into a stack that runs
  mirage-net iperf3 -s | -c HOST [options]      measure, with or against any iperf3
  mirage-net xen attach|detach [options]        plug in a Xen network card, or out
  mirage-net demo                               see it work, without any privilege
  mirage-net help run|router|ping|control|build|iperf3|xen
                                                all options, with examples
  mirage-net --version
`,
  run: `Usage
  mirage-net run APP [options] [-- ARGUMENTS]

APP is a JavaScript or TypeScript module whose default export is
  async (stack, args) => { … }
ARGUMENTS, after the two dashes, are given to it as args.

  --register         APP is any Node program instead, ARGUMENTS its process.argv:
                     node:net, http, https, http2, tls, dgram and fetch use the stack

Which network
  --net direct       our own stack, over a network interface (default)
  --net socket       the host's sockets; the application cannot tell

The interface of --net direct
  --netif tap:NAME   a Linux TAP device; it is made if there is none of that name
                     (needs root or CAP_NET_ADMIN) and goes away at the end
  --netif fd:N       a TAP that the parent process has opened as descriptor N
  --netif stream:PATH, stream:tcp:HOST:PORT
                     frames over a UNIX or TCP socket, as QEMU's -netdev stream and
                     passt have them; connects, again and again if need be
  --netif stream:listen:PATH, stream:listen:tcp:HOST:PORT
                     the same, waiting for one peer after another
  --netif xen:INDEX  this Xen domain's network card of that number (a netfront)
  --netif vif:DOMAIN.INDEX
                     the other end of a card of that domain (a netback)
  --ip CIDR|dhcp     the stack's address, as in 10.0.0.2/24, or from a DHCP server
  --ip6 auto|link-local|CIDR
                     IPv6 too: what routers advertise, a link-local address only, or an
                     address of its own, as in fd00::2/64
  --host-ip CIDR     gives the kernel's end of the TAP an address and brings it up
  --gateway IP, --gateway6 IP
                     where packets for other networks go
  --netif SPEC,name=NAME,ip=…,ip6=…,gateway=…,gateway6=…,host-ip=…,metric=N,vlan=ID
                     the same for one interface; --netif may be given again for more, and
                     --ip and its like, --pcap and --impair are then about the first.
                     Names are the TAP's unless told. vlan=ID is one VLAN of a device
                     (802.1Q), which may be named again with another
  --forward          passes packets on between the interfaces
  --napt NAME        hosts behind the others share the IPv4 address of interface NAME
  --offloads WHAT    on (the default): checksums and the cutting of large segments are
                     left to the device, where it does that. software: ordinary frames
                     with all checksums, cut apart and put together here. off, or
                     --no-offloads: one ordinary frame per packet

  --workers N        N threads, each with the application on a stack of its own over a
                     queue of the TAP; to the network they are one station. The
                     connections of a port are spread over them by the clients' ports

To look and to test
  --pcap FILE        write every frame to FILE; open it with Wireshark or tshark
  --snaplen BYTES    keep only the start of each frame in the capture
  --impair SPEC      make the network worse, in both directions: any of
                     loss=1%  duplicate=1%  corrupt=1%  reorder=1%
                     delay=30ms  jitter=10ms  rate=100mbit  seed=1
                     joined by commas; reorder holds packets back for the delay, at least
                     5 ms. Turns offloads off: packets are hit one by one
  --stats            print the stack's counters as JSON when the command ends
  --control PATH     answers "mirage-net arp|routes|stats --control PATH" while it runs
  -h, --help

Signals
  SIGINT, SIGTERM    close connections in order, complete the capture, remove the TAP,
                     exit with 0; a second one ends at once
  SIGUSR2            print the stack's counters as JSON on stderr

The command ends by itself when the application has returned and has no listener,
connection or datagram socket left. Exit codes: 0 done, 1 failed, 2 wrong usage.

Examples
  A web server that curl on this machine reaches at http://10.0.0.2/ :
    sudo mirage-net run web-server.ts --netif tap:mnd0 \\
         --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 -- ./public

  The same on a bad line, with a capture:
    sudo mirage-net run web-server.ts --netif tap:mnd0 \\
         --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 \\
         --impair loss=1%,delay=30ms,jitter=10ms --pcap bad-line.pcap -- ./public

  The same on the host's own sockets, unprivileged:
    mirage-net run web-server.ts --net socket -- --port 8080 ./public
`,
  build: `Usage
  mirage-net build APP --target xen [options] [-- ARGUMENTS]
  mirage-net build APP --target unix [options] [-- ARGUMENTS]

Makes a unikernel of an application that "mirage-net run" runs: the same module, the
same options (--ip, --gateway, …), which are built in together with ARGUMENTS. Needs
esbuild (npm install --save-dev esbuild).

  --target xen    a bootable image for a paravirtualized domain: the distribution's
                  kernel, and an initramfs with Node and the application and nothing
                  else. Node is the first process; the kernel's own network is never
                  configured. Files: vmlinuz, NAME.cpio.gz, NAME.xl for xl, NAME.xml for
                  libvirt. In the last two stand the options, to be changed there
  --target unix   a command NAME, with a folder beside it. Started by root, it opens the
                  TAP, becomes the user given, drops all privileges for good, and only
                  then loads the application. Options that it is started with come on top

Options
  --out FOLDER    where it goes (.)
  --name NAME     what it is called (the name of APP's file)

Of --target xen
  --netif xen:INDEX      the domain's network card (xen:0)
  --include PATH[:AS]    a file or folder that the application needs, in the image as AS
                         (the same path); any number of times
  --memory MIB           of the domain (512)
  --vif SPEC             the card, in the words of xl.cfg (bridge=xenbr0)
  --kernel FILE, --modules FOLDER
                         another kernel than the newest in /boot, or where there is none,
                         that of Debian's package linux-image-amd64

Of --target unix
  --netif tap:NAME       the TAP that is opened; --host-ip CIDR as for "mirage-net run"
  --user USER            who it runs as (nobody)

Examples
  mirage-net build web-server.ts --target xen --out image --include ./public:/srv \\
       --ip 10.0.0.2/24 -- /srv
  xl create -c image/web-server.xl

  mirage-net build web-server.ts --target unix --netif tap:mnd0 \\
       --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 -- /srv/public
  sudo ./web-server
`,
  router: `Usage
  mirage-net router --netif SPEC,ip=CIDR --netif SPEC,ip=CIDR [--napt NAME] [options]

Passes IPv4 and IPv6 packets on between its interfaces until a signal comes. Options are
those of "mirage-net run"; of an interface there is one more:

  advertise          tells hosts on this link that we are a router, and of our IPv6
                     prefix there, so that they need no configuration (with ip6=CIDR/64)

Examples
  A namespace reaches another through us, seen as 10.2.0.1:
    ip netns add inside; ip netns add outside
    sudo mirage-net router --control /run/router.sock --napt wan \\
         --netif tap:lan,ip=10.1.0.1/24,ip6=fd00:1::1/64,advertise \\
         --netif tap:wan,ip=10.2.0.1/24
    ip link set lan netns inside
    ip -n inside address add 10.1.0.2/24 dev lan; ip -n inside link set lan up
    ip -n inside route add default via 10.1.0.1        # and so on for wan
    mirage-net arp --control /run/router.sock
`,
  ping: `Usage
  mirage-net ping HOST [options]

Sends ICMP echo requests and shows the answers, as ping does. The stack that it runs on
is described as for "mirage-net run": --netif, --ip, --ip6, --gateway, …

  -c, --count N            end after N answers, or their time (no end)
  -i, --interval SECONDS   between requests (1)
  -s, --size BYTES         of data (56)
  -W, --wait SECONDS       for the last answer (1)
  -t, --ttl N              hops that a request may go
  -M, --dont-fragment      routers may not cut requests
  -q, --quiet              only the statistics at the end
  -4, -6                   addresses of this family only

The exit code is 0 if an answer came.

Example
  sudo mirage-net ping 10.0.0.1 -c 3 --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24
`,
  control: `Usage
  mirage-net arp    --control PATH [--json]   neighbours: ARP and neighbour discovery
  mirage-net routes --control PATH [--json]   routes of every interface, both families
  mirage-net stats  --control PATH [--json]   all counters

Asks a stack that runs with --control PATH ("mirage-net run", "router", "iperf3", "ping").
The socket at PATH is for its owner only. A question is a word and a line end, the answer
one line of JSON.
`,
  iperf3: `Usage
  mirage-net iperf3 -s [options]        serve tests
  mirage-net iperf3 -c HOST [options]   run one against a server

Speaks the protocol of iperf3, so either end may be the original. The stack that it runs
on is described as for "mirage-net run": --net, --netif, --ip, --host-ip, …

  -p, --port N             the server's port (5201)
  -i, --interval SECONDS   between reports (1; 0 for none)
  -J, --json               print the report as JSON, as iperf3 does

Of the server
  -B, --bind HOST          listen on this address only
  -1, --one-off            end after one test

Of the client
  -t, --time SECONDS       length of the test (10)
  -n, --bytes N[KMG]       end after so many bytes instead
  -k, --blockcount N[KMG]  end after so many blocks instead
  -l, --length N[KMG]      bytes of a block (128K, UDP 1448)
  -P, --parallel N         streams at once (1)
  -R, --reverse            the server sends
  --bidir                  both send
  -u, --udp                UDP instead of TCP
  -b, --bitrate N[KMG]     bits per second of each stream; 0 for as fast as it goes
                           (TCP 0, UDP 1M)
  -O, --omit SECONDS       a start that does not count
  -N, --no-delay           without Nagle's algorithm
  --udp-counters-64bit     number datagrams with 64 bits
  --connect-timeout MS     to reach the server

Examples
  On a TAP device, for the kernel's iperf3 -c 10.0.0.2 -R :
    sudo mirage-net iperf3 -s --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24
  On the host's own sockets:
    mirage-net iperf3 -c 127.0.0.1 -P 4 --net socket
`,
  xen: `Usage
  mirage-net xen attach [--frontend DOMAIN] [--backend DOMAIN] [--index N]
                        [--mac MAC] [--mtu BYTES]
  mirage-net xen detach [--frontend DOMAIN] [--backend DOMAIN] [--index N]

Writes into xenstore what a toolstack writes to plug in a network card, or asks both
ends to let go of it and removes it: for tests and demonstrations, where no xl does.
Domains are numbers; one that is not given is this domain. Without --mac the card gets
a random address of Xen's range. Needs root in the control domain.

Examples
  Our stack as the frontend, Linux's backend (vif0.0) as the other end, in one domain:
    modprobe xen-netback
    mirage-net xen attach
    mirage-net run web-server.ts --netif xen:0 --ip 10.0.0.2/24 -- ./public &
    ip addr add 10.0.0.1/24 dev vif0.0 && ip link set vif0.0 up
    curl http://10.0.0.2/

  Our stack as the backend of card 0 of domain 3:
    mirage-net xen attach --frontend 3
    mirage-net run web-server.ts --netif vif:3.0 --ip 10.0.0.2/24 -- ./public
`,
  demo: `Usage
  mirage-net demo [--seconds N] [--pcap FILE]

Two hosts on a virtual cable in this process: a web page is fetched over our TCP with
Node's own http, all frames of it are captured, and throughput is measured for N seconds
(default 3). Needs no privilege and touches no real network.
`,
} as const;

export type HelpTopic = keyof typeof HELP;

export function isHelpTopic(word: string | undefined): word is HelpTopic {
  return word !== undefined && Object.hasOwn(HELP, word);
}

export function helpText(topic: HelpTopic): string {
  return HELP[topic];
}
