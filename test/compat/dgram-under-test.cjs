'use strict';
/**
 * The module under test for Node's own `dgram` tests, as `net-under-test.cjs`
 * for those of `net`.
 */
const path = require('node:path');

const dist = path.resolve(process.env.MIRAGE_DIST ?? path.join(__dirname, '..', '..', 'dist'));
const { DirectStack } = require(path.join(dist, 'index.js'));
const { createCable } = require(path.join(dist, 'netif', 'link.js'));
const { BackgroundClock, createDgram } = require(path.join(dist, 'net', 'index.js'));

const clock = new BackgroundClock();
const [netif] = createCable({ clock });
const stack = new DirectStack({
  netif,
  clock,
  ipv4: '192.0.2.1/24',
  ipv6: 'link-local',
  probeAddress: false,
});
stack.ready();

module.exports = createDgram(stack);
