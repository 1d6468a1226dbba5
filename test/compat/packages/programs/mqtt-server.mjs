// An MQTT broker with aedes.
import { createServer } from 'node:net';
import { Aedes } from 'aedes';

const [port] = process.argv.slice(2);
const broker = await Aedes.createBroker();
const server = createServer(broker.handle);
server.listen(Number(port), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => process.exit());
