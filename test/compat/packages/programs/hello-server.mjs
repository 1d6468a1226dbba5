// The smallest web server there is.
import { createServer } from 'node:http';

const server = createServer((_request, response) => response.end('hello\n'));
server.listen(Number(process.argv[2]), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => process.exit());
