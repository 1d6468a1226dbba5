/**
 * Serves a folder over HTTP: GET (with ranges) and HEAD; PUT and POST answer
 * the SHA-256 of what was sent. Node's own HTTP parser runs on our flows.
 *
 *     mirage-net run examples/web-server.ts --netif tap:mnd0 --host-ip 10.0.0.1/24 --ip 10.0.0.2/24 -- DIR
 *     curl http://10.0.0.2/
 */
import { createHash } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { extname, join, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import type { Stack } from 'mirage-net-direct';
import { duplexOf } from 'mirage-net-direct/net';

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.gif': 'image/gif',
  '.html': 'text/html; charset=utf-8',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.md': 'text/markdown; charset=utf-8',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};

/** What a path that nobody could mean makes Node's functions throw. */
const BAD_REQUEST = new Set(['ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE', 'ERR_INVALID_URL']);

export default async function webServer(stack: Stack, args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { port: { type: 'string', default: '80' } },
  });
  const root = await realpath(positionals[0] ?? '.');
  const server = createServer((request, response) => {
    answer(root, request, response).catch((error: unknown) => fail(response, error));
  });
  const port = Number(values.port);
  const listener = await stack.tcp.listen({ port }, (flow) => server.emit('connection', duplexOf(flow)));
  console.log(`Serving ${root} on port ${listener.local.port}`);
}

async function answer(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return sendPath(root, request, response);
    case 'PUT':
    case 'POST': {
      const hash = createHash('sha256');
      for await (const chunk of request) hash.update(chunk);
      return sendText(response, 200, hash.digest('hex'));
    }
    default:
      response.setHeader('Allow', 'GET, HEAD, PUT, POST');
      return sendText(response, 405, 'Method not allowed');
  }
}

async function sendPath(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const target = request.url ?? '/';
  const { pathname } = new URL(target.startsWith('/') ? `http://host${target}` : target);
  const wanted = decodeURIComponent(pathname);
  // The link-free path decides, so neither ".." nor a symbolic link leads out of the folder.
  const path = await realpath(join(root, wanted));
  if (path !== root && !path.startsWith(root.endsWith(sep) ? root : root + sep)) {
    return sendText(response, 404, 'Not found');
  }
  const stats = await stat(path);
  if (stats.isFile()) return sendFile(path, stats, request, response);
  if (!stats.isDirectory()) return sendText(response, 404, 'Not found');
  if (!pathname.endsWith('/')) {
    response.setHeader('Location', `${pathname.replace(/^\/+/, '/')}/`);
    return sendText(response, 301, 'This is a folder');
  }
  const entries = await readdir(path, { withFileTypes: true });
  if (entries.some((entry) => entry.name === 'index.html' && entry.isFile())) {
    const index = join(path, 'index.html');
    return sendFile(index, await stat(index), request, response);
  }
  const names = entries.map((entry) => entry.name + (entry.isDirectory() ? '/' : '')).sort();
  const items = names.map(
    (name) => `<li><a href="./${encodeURIComponent(name).replace('%2F', '/')}">${escapeHtml(name)}</a>`,
  );
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end(
    `<!doctype html><title>${escapeHtml(wanted)}</title><h1>${escapeHtml(wanted)}</h1><ul>${items.join('\n')}</ul>\n`,
  );
}

async function sendFile(
  path: string,
  { size, mtime }: Stats,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('Accept-Ranges', 'bytes');
  response.setHeader('Content-Type', TYPES[extname(path).toLowerCase()] ?? 'application/octet-stream');
  response.setHeader('Last-Modified', mtime.toUTCString());
  const range = parseRange(request.headers.range, size);
  if (range === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${size}`);
    return sendText(response, 416, 'Range not satisfiable');
  }
  const { first, last } = range ?? { first: 0, last: size - 1 };
  if (range !== null) {
    response.statusCode = 206;
    response.setHeader('Content-Range', `bytes ${first}-${last}/${size}`);
  }
  response.setHeader('Content-Length', last - first + 1);
  if (request.method === 'HEAD' || size === 0) {
    response.end();
    return;
  }
  await pipeline(createReadStream(path, { start: first, end: last, highWaterMark: 256 * 1024 }), response);
}

/** RFC 9110 §14.1.2, one range; null where the whole file is to be sent. */
function parseRange(
  header: string | undefined,
  size: number,
): { first: number; last: number } | 'unsatisfiable' | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return null;
  const suffix = match[1] === '';
  const first = suffix ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = suffix || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (!suffix && match[2] !== '' && Number(match[2]) < first) return null;
  return first > last ? 'unsatisfiable' : { first, last };
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(`${text}\n`);
}

function fail(response: ServerResponse, error: unknown): void {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (response.headersSent || response.destroyed) response.destroy();
  else if (code === 'ENOENT' || code === 'ENOTDIR') sendText(response, 404, 'Not found');
  else if (error instanceof URIError || BAD_REQUEST.has(code)) sendText(response, 400, 'Bad request');
  else {
    console.error(error);
    sendText(response, 500, 'Internal error');
  }
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
