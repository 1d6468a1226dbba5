/** A domain to be made from an image. */
export interface DomainDescription {
  readonly name: string;
  /** Paths on the machine where it is started. */
  readonly kernel: string;
  readonly ramdisk: string;
  readonly memoryMib: number;
  /** In the words of xl.cfg's `vif`. */
  readonly vif: string;
  /** What is on the kernel's command line after `--`: the words of the runner. */
  readonly words: readonly string[];
}

/** Of the kernel: its console, few words, and a restart that ends the domain if its only process dies. */
const KERNEL_WORDS = 'console=hvc0 quiet panic=-1';

/** The command line of the kernel; the words for us follow the two dashes. */
export function commandLine(words: readonly string[]): string {
  return `${KERNEL_WORDS} -- ${words.map(quote).join(' ')}`;
}

/** Words of a command line, as {@link commandLine} writes them; null where there are no dashes. */
export function readCommandLine(text: string): string[] | null {
  const match = /(?:^|\s)--(?:\s|$)/.exec(text);
  if (match === null) return null;
  const words = text.slice(match.index + match[0].length).match(/'[^']*'|\S+/g) ?? [];
  return words.map((word) => (word.startsWith("'") ? word.slice(1, -1) : word));
}

function quote(word: string): string {
  return /^[^\s'"]+$/.test(word) ? word : `'${word}'`;
}

/** For `xl create`. */
export function xlConfiguration(domain: DomainDescription): string {
  const { name, kernel, ramdisk, memoryMib, vif, words } = domain;
  return `# Start it with: xl create -c FILE
# What follows the two dashes in "extra" are options of mirage-net run, and after
# two more dashes the application's arguments.
name = ${text(name)}
type = "pv"
kernel = ${text(kernel)}
ramdisk = ${text(ramdisk)}
extra = ${text(commandLine(words))}
memory = ${memoryMib}
vcpus = 1
vif = [ ${text(vif)} ]
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "destroy"
`;
}

/** In xl.cfg's strings a quotation mark ends them, and there is no way to write one. */
function text(value: string): string {
  return value.includes('"') ? `'${value}'` : `"${value}"`;
}

/** For `virsh create`. */
export function libvirtDomain(domain: DomainDescription): string {
  const { name, kernel, ramdisk, memoryMib, vif, words } = domain;
  const settings = Object.fromEntries(vif.split(',').map((pair) => pair.trim().split('=', 2))) as Partial<
    Record<string, string>
  >;
  const mac = settings.mac === undefined ? '' : `\n      <mac address="${xmlText(settings.mac)}"/>`;
  const script = settings.script === undefined ? '' : `\n      <script path="${xmlText(settings.script)}"/>`;
  return `<!-- Start it with: virsh -c xen:/// create FILE - -console -->
<domain type="xen">
  <name>${xmlText(name)}</name>
  <memory unit="MiB">${memoryMib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}" machine="xenpv">linux</type>
    <kernel>${xmlText(kernel)}</kernel>
    <initrd>${xmlText(ramdisk)}</initrd>
    <cmdline>${xmlText(commandLine(words))}</cmdline>
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <interface type="bridge">
      <source bridge="${xmlText(settings.bridge ?? 'xenbr0')}"/>${mac}${script}
    </interface>
    <console type="pty">
      <target type="xen" port="0"/>
    </console>
  </devices>
</domain>
`;
}

function xmlText(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
