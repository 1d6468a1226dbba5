// The smallest web server there is, on the flows of a stack: an application of `mirage-net run`.
import { createServer } from 'node:http';
import { duplexOf } from '../../../../dist/net/index.js';

export default async function application(stack, [port]) {
  const server = createServer((_request, response) => response.end('hello\n'));
  const listener = await stack.tcp.listen({ port: Number(port) }, (flow) =>
    server.emit('connection', duplexOf(flow)),
  );
  console.log(JSON.stringify(listener.local));
}
