import type { Interval } from './measurement.ts';
import type { TestParameters } from './parameters.ts';
import type { TestListener, TestReport } from './report.ts';
import { type StreamCounts, sum, type TestStream } from './stream.ts';
import { byteText, rateText } from './units.ts';

const RULE = '- - - - - - - - - - - - - - - - - - - - - - - - -\n';

/** The report that iperf3 prints, as the test goes on. */
export class TextReport implements TestListener {
  readonly #write: (text: string) => void;
  readonly #knowsRetransmits: boolean;
  #udp = false;
  #sending = false;

  constructor(write: (text: string) => void, knowsRetransmits: boolean) {
    this.#write = write;
    this.#knowsRetransmits = knowsRetransmits;
  }

  connecting(host: string, port: number): void {
    this.#write(`Connecting to host ${host}, port ${port}\n`);
  }

  accepted(address: string, port: number): void {
    this.#write(`Accepted connection from ${address}, port ${port}\n`);
  }

  started(test: TestParameters, streams: readonly TestStream[]): void {
    this.#udp = test.protocol === 'udp';
    this.#sending = streams.some(({ sends }) => sends);
    for (const { id, local, remote } of streams) {
      this.#write(
        `[${pad(id, 3)}] local ${local.address} port ${local.port} connected to ${remote.address} port ${remote.port}\n`,
      );
    }
    this.#write(this.#heading(this.#sending && !this.#udp ? 'Cwnd' : ''));
  }

  interval({ startSeconds, endSeconds, omitted, streams }: Interval): void {
    const span = spanText(startSeconds, endSeconds);
    const seconds = endSeconds - startSeconds;
    for (const { stream, counts, cwnd, jitterMs } of streams) {
      const window = stream.sends && !this.#udp && cwnd > 0 ? byteText(cwnd).padStart(11) : '';
      this.#line(
        `${stream.id}`,
        span,
        seconds,
        counts,
        stream.sends,
        jitterMs,
        omitted ? '(omitted)' : window,
      );
    }
    if (streams.length < 2) return;
    for (const sends of [true, false]) {
      const some = streams.filter(({ stream }) => stream.sends === sends);
      if (some.length < 2) continue;
      const counts = sum(some.map((each) => each.counts));
      this.#line('SUM', span, seconds, counts, sends, mean(some.map(({ jitterMs }) => jitterMs)), '');
    }
    this.#write(RULE);
  }

  finished({ test, own, peer, role }: TestReport): void {
    if (test.parallel === 1 && test.direction !== 'bidirectional') this.#write(RULE);
    this.#write(this.#heading(''));
    for (const sends of [true, false]) {
      const mine = own.streams.filter((stream) => stream.sends === sends);
      const theirs = mine.map(({ id }) => peer.streams.find((stream) => stream.id === id));
      const label = (isSender: boolean): string => (isSender ? '  sender' : '  receiver');
      mine.forEach((stream, i) => {
        const other = theirs[i];
        const lines = [{ ...stream, isSender: sends }, ...(other ? [{ ...other, isSender: !sends }] : [])];
        for (const { id, counts, seconds, jitterMs, isSender } of sends ? lines : lines.reverse()) {
          this.#line(`${id}`, spanText(0, seconds), seconds, counts, isSender, jitterMs, label(isSender));
        }
      });
      if (mine.length < 2) continue;
      const { seconds } = own;
      const both = [
        { counts: sum(mine.map(({ counts }) => counts)), isSender: sends },
        { counts: sum(theirs.flatMap((other) => (other ? [other.counts] : []))), isSender: !sends },
      ];
      for (const { counts, isSender } of sends ? both : both.reverse()) {
        this.#line('SUM', spanText(0, seconds), seconds, counts, isSender, 0, label(isSender));
      }
    }
    if (peer.output !== null) this.#write(`\nServer output:\n${peer.output}\n`);
    this.#write(role === 'client' ? '\niperf Done.\n' : RULE);
  }

  #heading(last: string): string {
    const middle = this.#udp
      ? this.#sending
        ? '  Total Datagrams'
        : '  Jitter    Lost/Total Datagrams'
      : this.#sending && this.#knowsRetransmits
        ? '  Retr'
        : '';
    return `[ ID] Interval           Transfer     Bitrate       ${middle}${last === '' ? '' : `  ${last}`}\n`;
  }

  #line(
    id: string,
    span: string,
    seconds: number,
    counts: StreamCounts,
    isSender: boolean,
    jitterMs: number,
    last: string,
  ): void {
    const { bytes, retransmits, packets, lost, outOfOrder } = counts;
    const rate = rateText((bytes * 8) / Math.max(seconds, 1e-6));
    let middle = '';
    if (this.#udp && isSender) middle = `  ${packets}`;
    else if (this.#udp) {
      const share = packets > 0 ? (100 * lost) / packets : 0;
      const late = outOfOrder > 0 ? `, ${outOfOrder} out of order` : '';
      middle = `  ${jitterMs.toFixed(3)} ms  ${lost}/${packets} (${share.toPrecision(2)}%)${late}`;
    } else if (isSender && this.#knowsRetransmits) middle = pad(retransmits, 6);
    this.#write(
      `[${id.padStart(3)}] ${span}  ${byteText(bytes).padStart(11)}  ${rate.padStart(14)}${middle}${last}\n`,
    );
  }
}

function spanText(start: number, end: number): string {
  return `${start.toFixed(2).padStart(6)}-${end.toFixed(2).padEnd(6)} sec`;
}

function pad(value: number, width: number): string {
  return String(value).padStart(width);
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
