// A program on PostgreSQL: types, transactions, a pool, notifications, large results, TLS.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import pg from 'pg';

const [host, port, folder] = process.argv.slice(2);
const config = { host, port: Number(port), user: 'postgres', database: 'postgres' };
const seen = {};

const client = new pg.Client(config);
await client.connect();
const { rows } = await client.query(
  'SELECT $1::int + 1 AS n, $2::text AS t, $3::bytea AS b, inet_client_addr() AS a',
  [41, 'grüß dich', Buffer.from([0, 1, 255])],
);
seen.types = [rows[0].n, rows[0].t, rows[0].b.toString('hex'), rows[0].a];

await client.query('CREATE TABLE items (id serial PRIMARY KEY, body text NOT NULL)');
await client.query('BEGIN');
for (let i = 0; i < 200; i++) await client.query('INSERT INTO items (body) VALUES ($1)', [`item ${i}`]);
await client.query('ROLLBACK');
seen.afterRollback = Number((await client.query('SELECT count(*) FROM items')).rows[0].count);
const big = 'x'.repeat(4 << 20);
await client.query('INSERT INTO items (body) VALUES ($1)', [big]);
seen.big = (await client.query('SELECT body FROM items')).rows[0].body === big;
seen.error = await client.query('INSERT INTO items (body) VALUES (NULL)').catch((error) => error.code);

await client.query('LISTEN news');
const news = once(client, 'notification');
const pool = new pg.Pool({ ...config, max: 5 });
await pool.query("NOTIFY news, 'it rains'");
seen.news = (await news)[0].payload;
const sums = await Promise.all(
  Array.from({ length: 100 }, (_, i) => pool.query('SELECT $1::int * 2 AS n, pg_backend_pid() AS pid', [i])),
);
seen.pooled = sums.every(({ rows: [row] }, i) => row.n === i * 2);
seen.backends = new Set(sums.map(({ rows: [row] }) => row.pid)).size;
const many = await pool.query('SELECT i, md5(i::text) AS h FROM generate_series(1, 100000) AS i');
seen.rows = [many.rows.length, many.rows.at(-1).h];
await pool.end();

const secured = new pg.Client({
  ...config,
  ssl: { ca: readFileSync(`${folder}/ca.pem`), servername: 'server.test' },
});
await secured.connect();
seen.tls = (await secured.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).rows[0].ssl;
// The server ends the connection under us.
const ended = once(secured, 'error');
secured.on('error', () => {});
await client.query('SELECT pg_terminate_backend($1)', [secured.processID]);
seen.terminated = (await ended)[0].code;
await client.end();
console.log(JSON.stringify(seen));
