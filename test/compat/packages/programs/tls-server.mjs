// TLS that asks for a certificate of the client's, and says who he is; then echoes.
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

const [port, folder] = process.argv.slice(2);
const server = tls.createServer(
  {
    key: readFileSync(`${folder}/server.key`),
    cert: readFileSync(`${folder}/server.pem`),
    ca: readFileSync(`${folder}/ca.pem`),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['echo'],
  },
  (socket) => {
    const who = socket.authorized ? (socket.getPeerCertificate().subject?.CN ?? null) : null;
    const { servername, alpnProtocol, remoteAddress } = socket;
    socket.write(
      `${JSON.stringify({ who, servername, alpnProtocol, remoteAddress, reused: socket.isSessionReused() })}\n`,
    );
    socket.on('error', () => {});
    socket.pipe(socket);
  },
);
server.listen(Number(port), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => process.exit());
