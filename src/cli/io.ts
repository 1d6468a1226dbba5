/** The part of Node's `process` that commands use. */
export interface HostProcess {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
  once(event: string, listener: (argument: unknown) => void): unknown;
  exit(code: number): void;
}

/** What a command has of the outside world; tests give their own. */
export interface CommandIo {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly process: HostProcess;
}
