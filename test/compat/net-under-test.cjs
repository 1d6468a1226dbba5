'use strict';
/**
 * The module under test for Node's own `net` tests: an object shaped like
 * `node:net` on a stack of its own that has nothing but its loopback.
 * `MIRAGE_DIST` says where the build is.
 */
const path = require('node:path');

const dist = path.resolve(process.env.MIRAGE_DIST ?? path.join(__dirname, '..', '..', 'dist'));
const { DirectStack } = require(path.join(dist, 'index.js'));
const { createCable } = require(path.join(dist, 'netif', 'link.js'));
const { BackgroundClock, createNet } = require(path.join(dist, 'net', 'index.js'));

// As with a kernel's sockets, the process ends when they are done, not when the stack's last timer is.
const clock = new BackgroundClock();
// Nothing is plugged in at the other end.
const [netif] = createCable({ clock });
const stack = new DirectStack({
  netif,
  clock,
  ipv4: '192.0.2.1/24',
  ipv6: 'link-local',
  probeAddress: false,
});
stack.ready();

const net = createNet(stack);
// The runner serves this module to `require('net')`. Tests that are modules import `node:net`, and `http` and
// `tls` have it already: for them it takes the place of Node's own.
const inPlace = process.env.ALT_MODE === 'inplace' || process.argv[1]?.endsWith('.mjs');
if (inPlace) require(path.join(dist, 'net', 'install.js')).installNet(net);

module.exports = net;
