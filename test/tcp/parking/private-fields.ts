import { Session } from 'node:inspector';

/** Names of properties that lead out of what is looked at. */
type Leave = ReadonlySet<string>;

interface Property {
  readonly name: string;
  readonly value?: RemoteObject;
}

interface RemoteObject {
  readonly type: string;
  readonly subtype?: string;
  readonly value?: unknown;
  readonly unserializableValue?: string;
  readonly objectId?: string;
}

/**
 * Every field of `object` and of what it leads to, `#private` ones too, by path:
 * as a debugger sees them, so that no field can be forgotten.
 */
export function allFields(object: object, leave: Leave): Map<string, unknown> {
  const session = new Session();
  session.connect();
  const post = <T>(method: string, parameters: object): T => {
    let answer: T | undefined;
    session.post(method, parameters, (error: Error | null, result?: object) => {
      if (error !== null) throw error;
      answer = result as T;
    });
    // The session is of this thread: it has answered by now.
    return answer!;
  };
  const fields = new Map<string, unknown>();
  const walk = (path: string, objectId: string): void => {
    const { result, privateProperties = [] } = post<{ result: Property[]; privateProperties?: Property[] }>(
      'Runtime.getProperties',
      { objectId, ownProperties: true },
    );
    for (const { name, value } of [...result, ...privateProperties]) {
      // A method or accessor of the class.
      if (name === '__proto__' || value === undefined || value.type === 'function' || leave.has(name))
        continue;
      const at = `${path}.${name}`;
      if (value.type === 'object' && value.objectId !== undefined && value.subtype !== 'null')
        walk(at, value.objectId);
      else fields.set(at, value.subtype === 'null' ? null : (value.unserializableValue ?? value.value));
    }
  };
  const root = globalThis as { lookedAt?: object };
  root.lookedAt = object;
  const { result } = post<{ result: RemoteObject }>('Runtime.evaluate', {
    expression: 'globalThis.lookedAt',
  });
  walk('', result.objectId!);
  delete root.lookedAt;
  session.disconnect();
  return fields;
}
