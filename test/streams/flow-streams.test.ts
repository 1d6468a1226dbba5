import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SocketStack } from '../../src/socket/index.ts';
import type { Flow, Stack } from '../../src/stack.ts';
import { connectedStacks, THERE } from '../net/stacks.ts';

interface Ends {
  readonly flow: Flow;
  readonly peer: Flow;
  close(): Promise<void>;
}

async function connected(client: Stack, server: Stack, host: string): Promise<{ flow: Flow; peer: Flow }> {
  let accepted: (flow: Flow) => void = () => {};
  const peer = new Promise<Flow>((resolve) => {
    accepted = resolve;
  });
  const listener = await server.tcp.listen({ port: 0, host }, accepted);
  const flow = await client.tcp.connect({ host, port: listener.local.port });
  return { flow, peer: await peer };
}

const STACKS: Record<string, () => Promise<Ends>> = {
  'a direct stack': async () => {
    const pair = await connectedStacks({ sendBuffer: 1 << 17, receiveBuffer: 1 << 17 });
    return { ...(await connected(pair.here, pair.there, THERE)), close: () => pair.close() };
  },
  "the host's sockets": async () => {
    const stack = new SocketStack();
    return { ...(await connected(stack, stack, '127.0.0.1')), close: () => stack.close() };
  },
};

for (const [name, open] of Object.entries(STACKS)) {
  describe(`the web streams of a flow on ${name}`, () => {
    let ends: Ends;
    beforeEach(async () => {
      ends = await open();
    });
    afterEach(() => ends.close());

    it('carry bytes both ways and end in order', async () => {
      const echo = ends.peer.readable.pipeTo(ends.peer.writable);
      const writer = ends.flow.writable.getWriter();
      await writer.write(new TextEncoder().encode('over and back'));
      const closed = writer.close();
      let text = '';
      for await (const chunk of ends.flow.readable) text += Buffer.from(chunk).toString();
      expect(text).toBe('over and back');
      await Promise.all([echo, closed]);
    });

    it('read into the buffer of a BYOB reader, and keep what does not fit', async () => {
      await ends.peer.write(Buffer.from('abcdefghij'));
      const reader = ends.flow.readable.getReader({ mode: 'byob' });
      const parts: string[] = [];
      let memory = new ArrayBuffer(4);
      while (parts.join('').length < 10) {
        const { value } = await reader.read(new Uint8Array(memory));
        expect(value!.buffer.byteLength).toBe(4);
        parts.push(Buffer.from(value!).toString());
        memory = value!.buffer as ArrayBuffer;
      }
      expect(parts).toEqual(['abcd', 'efgh', 'ij']);
      await ends.peer.shutdown();
      expect(await reader.read(new Uint8Array(memory))).toMatchObject({ done: true });
    });

    it('give the rest to an ordinary reader', async () => {
      await ends.peer.write(Buffer.from('abcdefghij'));
      const byob = ends.flow.readable.getReader({ mode: 'byob' });
      const { value } = await byob.read(new Uint8Array(3));
      byob.releaseLock();
      const reader = ends.flow.readable.getReader();
      const rest = await reader.read();
      expect(Buffer.from(value!).toString() + Buffer.from(rest.value!).toString()).toBe('abcdefghij');
    });

    it('read nothing that nobody asks for', async () => {
      const block = new Uint8Array(1 << 16);
      const total = 512 * block.length;
      const writer = ends.peer.writable.getWriter();
      let sent = 0;
      const sending = (async () => {
        while (sent < total) {
          await writer.write(block);
          sent += block.length;
        }
        await writer.close();
      })();
      const reader = ends.flow.readable.getReader();
      await reader.read();
      // It stands still well below the whole: what both buffers take, and what the streams hold.
      let before = -1;
      while (sent !== before) {
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(sent).toBeLessThan(total / 2);
      for (let result = await reader.read(); !result.done; result = await reader.read());
      await sending;
    });

    it('take what was written before the caller changes it', async () => {
      const writer = ends.flow.writable.getWriter();
      const bytes = new TextEncoder().encode('before');
      await writer.write(bytes);
      bytes.fill(120);
      await writer.write(new DataView(new TextEncoder().encode(' and a view').buffer));
      void writer.close();
      let text = '';
      for await (const chunk of ends.peer) text += Buffer.from(chunk).toString();
      expect(text).toBe('before and a view');
    });

    it('refuse what is no bytes', async () => {
      const writer = ends.flow.writable.getWriter();
      await expect(writer.write('text' as unknown as Uint8Array)).rejects.toThrow('takes bytes');
    });

    it('fail both when the peer resets', async () => {
      const reader = ends.flow.readable.getReader();
      const writer = ends.flow.writable.getWriter();
      const reading = reader.read();
      ends.peer.abort();
      await expect(reading).rejects.toMatchObject({ code: 'ECONNRESET' });
      await expect(writer.closed).rejects.toMatchObject({ code: 'ECONNRESET' });
    });

    it('reset the connection when the writable is aborted', async () => {
      const reading = ends.peer.read();
      await ends.flow.writable.abort(new Error('enough'));
      await expect(reading).rejects.toMatchObject({ code: 'ECONNRESET' });
    });

    it('close the flow when reading is cancelled and writing is closed', async () => {
      await ends.flow.writable.close();
      await ends.flow.readable.cancel();
      expect(await ends.peer.read()).toBeNull();
      await ends.peer.close();
      await expect.poll(() => ends.flow.stats.state).toMatch(/CLOSED|TIME-WAIT/);
    });
  });
}
