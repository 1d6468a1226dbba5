// A program on Redis: pipelines, transactions, blocking reads, subscriptions, large values, reconnection.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Redis } from 'ioredis';

const [host, port] = process.argv.slice(2);
const seen = {};
const redis = new Redis({ host, port: Number(port), retryStrategy: () => 20 });

await redis.set('greeting', 'grüß dich');
seen.greeting = await redis.get('greeting');
const pipeline = redis.pipeline();
for (let i = 0; i < 5000; i++) pipeline.incr('counter');
const results = await pipeline.exec();
seen.counter = results.every(([error, value], i) => error === null && value === i + 1);
seen.transaction = (await redis.multi().set('a', 1).incr('a').get('a').exec()).map(([, value]) => value);

const bytes = randomBytes(8 << 20);
await redis.set('big', bytes);
seen.big = (await redis.getBuffer('big')).equals(bytes);

const blocked = redis.duplicate();
const popped = blocked.blpop('list', 10);
await redis.rpush('list', 'pushed');
seen.popped = await popped;

const subscriber = redis.duplicate();
await subscriber.subscribe('news');
const heard = [];
subscriber.on('message', (_channel, text) => heard.push(text));
for (let i = 0; i < 1000; i++) redis.publish('news', `number ${i}`);
while (heard.length < 1000) await once(subscriber, 'message');
seen.heard = heard.every((text, i) => text === `number ${i}`);

// The server ends the connection; ioredis makes another, and the command waits for it.
const id = await blocked.client('ID');
const closed = once(blocked, 'close');
await redis.client('KILL', 'ID', id);
await closed;
seen.reconnected = await blocked.get('greeting');
seen.address = (await redis.client('INFO')).match(/ addr=([\d.]+):/)[1];

await Promise.all([redis.quit(), blocked.quit(), subscriber.quit()]);
console.log(JSON.stringify(seen));
