const BYTE_UNITS = ['Bytes', 'KBytes', 'MBytes', 'GBytes', 'TBytes'];
const BIT_UNITS = ['bits/sec', 'Kbits/sec', 'Mbits/sec', 'Gbits/sec', 'Tbits/sec'];

/** `1.25 GBytes`, in units of 1,024, with three digits that count. */
export function byteText(bytes: number): string {
  return scaled(bytes, 1024, BYTE_UNITS);
}

/** `9.41 Gbits/sec`, in units of 1,000. */
export function rateText(bitsPerSecond: number): string {
  return scaled(bitsPerSecond, 1000, BIT_UNITS);
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  while (rest >= step && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  const digits = rest < 9.995 ? 2 : rest < 99.95 ? 1 : 0;
  return `${rest.toFixed(digits)} ${units[unit]}`;
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, K: 1, M: 2, G: 3, T: 4 };

/** `64K`, `1.5g`: a number with a unit of 1,024 (sizes) or 1,000 (rates); NaN where it is none. */
export function parseUnit(text: string, step: 1000 | 1024): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/i.exec(text);
  if (match === null) return Number.NaN;
  const letter = match[2]!.toUpperCase();
  return Math.floor(Number(match[1]) * (letter === '' ? 1 : step ** FACTORS[letter]!));
}
