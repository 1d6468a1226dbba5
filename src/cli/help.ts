const HELP = {
  'mirage-net': `mirage-net runs network applications on a TCP/IP stack inside their own process.

Usage
  mirage-net run APP [options] [-- ARGUMENTS]   run an application
  mirage-net demo                               see it work, without any privilege
  mirage-net help run                           all options, with examples
  mirage-net --version
`,
  run: `Usage
  mirage-net run APP [options] [-- ARGUMENTS]

APP is a JavaScript or TypeScript module whose default export is
  async (stack, args) => { … }
ARGUMENTS, after the two dashes, are given to it as args.

Which network
  --net direct       our own stack, over a network interface (default)
  --net socket       the host's sockets; the application cannot tell

The interface of --net direct
  --netif tap:NAME   a Linux TAP device; it is made if there is none of that name
                     (needs root or CAP_NET_ADMIN) and goes away at the end
  --netif fd:N       a TAP that the parent process has opened as descriptor N
  --ip CIDR|dhcp     the stack's address, as in 10.0.0.2/24, or from a DHCP server
  --host-ip CIDR     gives the kernel's end of the TAP an address and brings it up
  --gateway IP       where packets for other networks go
  --no-offloads      one ordinary frame per packet, every checksum in software

To look and to test
  --pcap FILE        write every frame to FILE; open it with Wireshark or tshark
  --snaplen BYTES    keep only the start of each frame in the capture
  --impair SPEC      make the network worse, in both directions: any of
                     loss=1%  duplicate=1%  corrupt=1%  reorder=1%
                     delay=30ms  jitter=10ms  rate=100mbit  seed=1
                     joined by commas; reorder holds packets back for the delay, at least
                     5 ms. Turns offloads off: packets are hit one by one
  --stats            print the stack's counters as JSON when the command ends
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
  demo: `Usage
  mirage-net demo [--seconds N] [--pcap FILE]

Two hosts on a virtual cable in this process: a web page is fetched over our TCP with
Node's own http, all frames of it are captured, and throughput is measured for N seconds
(default 3). Needs no privilege and touches no real network.
`,
} as const;

export function helpText(topic: keyof typeof HELP): string {
  return HELP[topic];
}
