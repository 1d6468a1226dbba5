// Rooms and acknowledgements with Socket.IO, long polling and WebSockets.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const [port] = process.argv.slice(2);
const server = createServer();
const io = new Server(server, { maxHttpBufferSize: 4 << 20 });
io.on('connection', (socket) => {
  socket.on('join', async (room, done) => {
    await socket.join(room);
    done(io.sockets.adapter.rooms.get(room).size);
  });
  socket.on('say', (room, text) => io.to(room).emit('said', text));
  socket.on('length', (bytes, done) => done(bytes.length));
});
server.listen(Number(port), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => io.close());
