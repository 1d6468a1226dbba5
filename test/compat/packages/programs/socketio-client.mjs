// Two members of a Socket.IO room, one by long polling and one that moves on to a WebSocket.
import { once } from 'node:events';
import { io } from 'socket.io-client';

const [url] = process.argv.slice(2);
const seen = {};
const polling = io(url, { transports: ['polling'] });
const upgraded = io(url);
await Promise.all([once(polling, 'connect'), once(upgraded, 'connect')]);
if (upgraded.io.engine.transport.name !== 'websocket') await once(upgraded.io.engine, 'upgrade');
seen.transports = [polling.io.engine.transport.name, upgraded.io.engine.transport.name];

await polling.emitWithAck('join', 'room');
seen.members = await upgraded.emitWithAck('join', 'room');
const heard = [once(polling, 'said'), once(upgraded, 'said')];
upgraded.emit('say', 'room', 'good morning');
seen.heard = (await Promise.all(heard)).map(([text]) => text);
seen.length = await polling.emitWithAck('length', Buffer.alloc(1 << 20));
polling.disconnect();
upgraded.disconnect();
console.log(JSON.stringify(seen));
