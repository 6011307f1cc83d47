// Addresses and networks, both versions. Every address becomes 16 bytes: an IPv4 address is its IPv4-mapped IPv6 one
// (RFC 4291, 2.5.5.2), so that `10.1.2.3` and `::ffff:10.1.2.3` are the same address, which they are.

// The bytes of an IPv4 address, or undefined. Four decimal numbers; a leading zero could mean octal and is refused.
function parse4(text) {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

// The 16-bit groups of one side of a `::`, or undefined.
function groups(text) {
  if (text === '') return [];
  const parts = text.split(':');
  const last = parts[parts.length - 1];
  let tail = [];
  if (last.includes('.')) {
    const bytes = parse4(last);
    if (bytes === undefined) return undefined;
    tail = [bytes[0] * 256 + bytes[1], bytes[2] * 256 + bytes[3]];
    parts.pop();
  }
  if (!parts.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return undefined;
  return [...parts.map((part) => parseInt(part, 16)), ...tail];
}

// The bytes of an IPv6 address, or undefined. No zone: `fe80::1%eth0` is not an address that comes from afar.
function parse6(text) {
  const sides = text.split('::');
  if (sides.length > 2) return undefined;
  const [front, back] = sides.map(groups);
  if (front === undefined || (sides.length === 2 && back === undefined)) return undefined;
  // Only the last group of all may be in IPv4 form.
  if (sides.length === 2 && sides[0].includes('.')) return undefined;
  const given = front.length + (back?.length ?? 0);
  if (sides.length === 1 ? given !== 8 : given > 7) return undefined;
  const all = [...front, ...Array(8 - given).fill(0), ...(back ?? [])];
  return all.flatMap((group) => [group >> 8, group & 255]);
}

/// The 16 bytes of an address, or undefined if it is none.
export function parseAddress(text) {
  if (text.includes(':')) return parse6(text);
  const bytes = parse4(text);
  return bytes && [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes];
}

/// A network in CIDR notation, or undefined if it is none. A lone address is the network of that address.
export function parseNetwork(text) {
  if (typeof text !== 'string') return undefined;
  const [base, length, ...rest] = text.split('/');
  const bytes = parseAddress(base);
  if (bytes === undefined || rest.length > 0) return undefined;
  const most = base.includes(':') ? 128 : 32;
  if (length !== undefined && !/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined;
  const bits = length === undefined ? most : Number(length);
  return bits <= most ? { bytes, bits: bits + 128 - most } : undefined;
}

/// Whether an address is in a network. What is no address is in none.
export function contains(network, address) {
  const bytes = parseAddress(address);
  if (bytes === undefined) return false;
  return bytes.every((byte, place) => {
    const bits = Math.min(Math.max(network.bits - 8 * place, 0), 8);
    const mask = (0xff00 >> bits) & 0xff;
    return (byte & mask) === (network.bytes[place] & mask);
  });
}
