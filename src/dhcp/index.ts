export {
  type DhcpActions,
  DhcpClient,
  type DhcpClientOptions,
  type DhcpCounters,
  type DhcpState,
} from './client.ts';
export type { DhcpLease } from './lease.ts';
export { LINK_LOCAL_LENGTH, LinkLocalAddresses } from './link-local.ts';
export { DhcpServer, type DhcpServerCounters, type DhcpServerOptions } from './server.ts';
export { Dhcp6Client, type Dhcp6ClientOptions, type Dhcp6State } from './v6-client.ts';
export type { Dhcp6Configuration } from './v6-message.ts';
export type { DhcpRoute } from './values.ts';
export { CLIENT_PORT as DHCP_CLIENT_PORT, SERVER_PORT as DHCP_SERVER_PORT } from './wire.ts';
