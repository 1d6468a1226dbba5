// Publishes and subscribes with MQTT: all qualities of service, retained messages, a last will.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const [url, folder] = process.argv.slice(2);
const secure = folder === undefined ? {} : { ca: readFileSync(`${folder}/ca.pem`) };
const seen = {};
const reader = await mqtt.connectAsync(url, secure);
const writer = await mqtt.connectAsync(url, {
  ...secure,
  reconnectPeriod: 0,
  will: { topic: 'last/will', payload: 'gone', qos: 1, retain: false },
});

const messages = [];
reader.on('message', (topic, payload) => messages.push([topic, payload]));
const has = async (count) => {
  while (messages.length < count) await once(reader, 'message');
  return messages.splice(0);
};

await reader.subscribeAsync(['news/#', 'last/will'], { qos: 2 });
for (const qos of [0, 1, 2]) await writer.publishAsync(`news/${qos}`, `quality ${qos}`, { qos });
seen.qualities = (await has(3)).map(([topic, payload]) => [topic, String(payload)]);

const bytes = randomBytes(1 << 20);
await writer.publishAsync('news/big', bytes, { qos: 1 });
seen.big = (await has(1))[0][1].equals(bytes);

await Promise.all(
  Array.from({ length: 1000 }, (_, i) => writer.publishAsync('news/many', `${i}`, { qos: 1 })),
);
seen.many = (await has(1000)).every(([, payload], i) => String(payload) === `${i}`);

await writer.publishAsync('kept', 'still here', { retain: true, qos: 1 });
await reader.subscribeAsync('kept');
seen.kept = String((await has(1))[0][1]);
await writer.publishAsync('kept', '', { retain: true, qos: 1 });
await has(1);

// Without a word: the broker speaks for it.
writer.stream.destroy();
seen.will = String((await has(1))[0][1]);
await reader.endAsync();
writer.end(true);
console.log(JSON.stringify(seen));
