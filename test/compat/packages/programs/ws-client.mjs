// Uses an echo over WebSockets: text, large binaries, pings, both ways to close.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';

const [url] = process.argv.slice(2);
const seen = {};

const socket = new WebSocket(`${url}/echo`, ['first', 'second'], { perMessageDeflate: true });
const [welcome] = await once(socket, 'message');
seen.welcome = JSON.parse(welcome);

const texts = Array.from({ length: 500 }, (_, i) => `message ${i}`);
const echoed = [];
socket.on('message', (data) => echoed.push(String(data)));
for (const text of texts) socket.send(text);
while (echoed.length < texts.length) await once(socket, 'message');
seen.texts = echoed.join() === texts.join();
socket.removeAllListeners('message');

const bytes = randomBytes(4 << 20);
socket.send(bytes);
const [binary, isBinary] = await once(socket, 'message');
seen.binary = isBinary && binary.equals(bytes);

socket.ping('are you there');
seen.pong = String((await once(socket, 'pong'))[0]);

socket.send('close');
const [code, reason] = await once(socket, 'close');
seen.closed = [code, String(reason)];

const other = new WebSocket(`${url}/echo`);
await once(other, 'message');
other.send('terminate');
seen.terminated = (await once(other, 'close'))[0];

const refused = new WebSocket(`${url}/elsewhere`);
seen.refused = (await once(refused, 'error'))[0].message;
console.log(JSON.stringify(seen));
