// Echoes over WebSockets, compressed, with ws on Node's HTTP server.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const [port] = process.argv.slice(2);
const server = createServer((_request, response) => response.writeHead(426).end());
const sockets = new WebSocketServer({ server, path: '/echo', perMessageDeflate: true, maxPayload: 16 << 20 });
sockets.on('connection', (socket, request) => {
  socket.send(JSON.stringify({ address: request.socket.remoteAddress, protocol: socket.protocol }));
  socket.on('message', (data, isBinary) => {
    if (String(data) === 'close') socket.close(4001, 'as you wish');
    else if (String(data) === 'terminate') socket.terminate();
    else socket.send(data, { binary: isBinary });
  });
});
server.listen(Number(port), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => {
  for (const socket of sockets.clients) socket.terminate();
  server.close();
});
