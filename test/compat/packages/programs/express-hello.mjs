// The smallest web application with Express there is.
import express from 'express';

const app = express();
app.get('/hello', (_request, response) => response.send('hello\n'));
const server = app.listen(Number(process.argv[2]), () => console.log(JSON.stringify(server.address())));
process.once('SIGTERM', () => process.exit());
