// A backend for Keygate that keeps keys in software.
//
// Key material is sealed under the KEK (key-encryption key) that the operator grants; plaintexts are sealed under key
// material. Both with XChaCha20-Poly1305, whose 24-byte nonces may be random without counting. Everything that is sealed
// is bound to what it is and which key version it belongs to.
//
// A key-ref: format (1 byte, 1), version of the KEK (4, big-endian), kind (1), algorithm (1), nonce (24), the sealed
// material. A ciphertext: format (1 byte, 1), nonce (24), the sealed plaintext. Whatever you change, keep reading what
// earlier versions wrote: give a new format a new first byte.
//
// The cipher is a library's: never write one. JavaScript cannot promise to take the same time for every key, nor to wipe
// what it held; a sandbox lives for one call and its memory is wiped then. Where that is not enough, write it in Rust.

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytes as randomBytes } from 'keygate:host/random@0.1.0';
import { current, version } from 'keygate:host/secrets@0.1.0';

const NAME = '{{name}}';
const FORMAT = 1;
const HEAD = 7;
const NONCE = 24;
const MAX_MATERIAL = 7680;
const KINDS = { root: 1, standard: 2 };

// The name of the granted secret: `settings = { kek = "kek" }`.
let kekName = 'kek';

const utf8 = new TextEncoder();

// What the contract knows as errors.
const invalidKeyRef = { tag: 'invalid-key-ref' };
const authenticationFailed = { tag: 'authentication-failed' };
const unsupported = (text) => ({ tag: 'unsupported', val: text });
const invalidInput = (text) => ({ tag: 'invalid-input', val: text });
const unavailable = (text) => ({ tag: 'unavailable', val: text });

function join(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function number(value) {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value]);
}

// What is bound into everything that is sealed: what it is, whose it is, and `more`. Each part has its length in front, so
// that no two different lists of parts are the same bytes.
function bound(purpose, more, { instanceId, keyId, versionId }) {
  const texts = [NAME, purpose, instanceId, keyId, versionId].map((text) => utf8.encode(text));
  return join(...[...texts, more].flatMap((part) => [number(part.length), part]));
}

// The host gives at most 4,096 bytes at a time.
function random(len) {
  const parts = [];
  for (let left = len; left > 0; left -= 4096) parts.push(randomBytes(Math.min(left, 4096)));
  return join(...parts);
}

function seal(key, plaintext, aad) {
  const nonce = random(NONCE);
  return join(nonce, xchacha20poly1305(key, nonce, aad).encrypt(plaintext));
}

// Opens what `seal` made with the same key and `aad`; throws `otherwise` for anything else.
function open(key, sealed, aad, otherwise) {
  if (sealed.length < NONCE + 16) throw otherwise;
  try {
    return xchacha20poly1305(key, sealed.subarray(0, NONCE), aad).decrypt(sealed.subarray(NONCE));
  } catch {
    throw otherwise;
  }
}

// A secret of the host's; its errors become those of this contract.
function secret(get) {
  let found;
  try {
    found = get();
  } catch (error) {
    const cause = error?.payload?.tag ?? error?.tag;
    if (cause === 'no-such-version') throw invalidKeyRef;
    if (cause === 'not-granted') throw unavailable('the secret of the setting `kek` is not granted');
    throw unavailable(String(error?.payload?.val ?? error));
  }
  if (found.value.length !== 32) throw unavailable(`the secret \`${kekName}\` has ${found.value.length} bytes; a KEK has 32`);
  return found;
}

const currentKek = () => secret(() => current(kekName));

function algorithm({ algorithm, bits, kind }) {
  if (algorithm === 'AES' && [128, 192, 256].includes(bits)) return 1;
  if (algorithm === 'SECRET' && kind === 'standard' && bits >= 8 && bits <= 8 * MAX_MATERIAL && bits % 8 === 0) return 2;
  throw unsupported(`there are no such keys: ${algorithm} with ${bits} bits`);
}

// Seals material under the newest KEK.
function sealKey(identity, kind, algorithm, material) {
  const kek = currentKek();
  const head = join([FORMAT], number(kek.version), [kind, algorithm]);
  return join(head, seal(kek.value, material, bound('key-ref', head, identity)));
}

function openKey({ identity, reference }) {
  if (reference.length < HEAD || reference[0] !== FORMAT) throw invalidKeyRef;
  const head = reference.subarray(0, HEAD);
  const kekVersion = new DataView(head.buffer, head.byteOffset).getUint32(1);
  const kek = secret(() => version(kekName, kekVersion));
  const material = open(kek.value, reference.subarray(HEAD), bound('key-ref', head, identity), invalidKeyRef);
  return { kekVersion, kind: head[5], algorithm: head[6], material };
}

// What a root key seals with. The material may have 16, 24 or 32 bytes: a cipher's key is derived from it.
function dataKey(key) {
  const { kind, material } = openKey(key);
  if (kind !== KINDS.root) throw invalidInput('a standard key does not wrap');
  return hmac(sha256, material, utf8.encode(`${NAME} data key 1`));
}

function wrap(key, plaintext, aad) {
  return join([FORMAT], seal(dataKey(key), plaintext, bound('wrap', aad, key.identity)));
}

function unwrap(key, wrapped, aad) {
  const under = dataKey(key);
  if (wrapped[0] !== FORMAT) throw authenticationFailed;
  return open(under, wrapped.subarray(1), bound('wrap', aad, key.identity), authenticationFailed);
}

// The beginning of the example in draft-irtf-cfrg-xchacha-03, appendix A.3.1: shows that the cipher is the right one.
function knownAnswer() {
  const count = (from, len) => Uint8Array.from({ length: len }, (_, i) => from + i);
  const sealed = xchacha20poly1305(count(0x80, 32), count(0x40, 24)).encrypt(utf8.encode('Ladies and Gentl'));
  const right = [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b];
  if (!right.every((byte, i) => byte === sealed[i])) throw { tag: 'internal', val: 'the known answer is another' };
}

const notHere = () => {
  throw unsupported('this backend does not do that');
};

const functions = {
  describe() {
    const algorithms = ['AES', 'SECRET'];
    return { name: NAME, version: '0.1.0', algorithms, maxPlaintext: 7168, maxMaterial: MAX_MATERIAL, features: [] };
  },

  configure(settings) {
    const given = JSON.parse(settings);
    for (const name of Object.keys(given)) {
      if (name !== 'kek') throw { path: name, message: 'there is no such setting; the only one is `kek`' };
    }
    kekName = given.kek ?? 'kek';
    if (typeof kekName !== 'string') throw { path: 'kek', message: 'expected the name of a granted secret' };
  },

  probe(_call) {
    knownAnswer();
    currentKek();
  },

  generateKey(_call, identity, spec) {
    return sealKey(identity, KINDS[spec.kind], algorithm(spec), random(spec.bits / 8));
  },

  importKey(_call, identity, spec, material) {
    const kind = algorithm(spec);
    if (material.length !== spec.bits / 8) throw invalidInput('the material has not the size that it should have');
    return sealKey(identity, KINDS[spec.kind], kind, material);
  },

  exportKey(_call, key) {
    const { kind, material } = openKey(key);
    if (kind !== KINDS.standard) throw unsupported('the material of a root key never leaves');
    return material;
  },

  wrap: (_call, key, plaintext, aad) => wrap(key, plaintext, aad),

  generateDataKey(_call, key, len, aad) {
    const plaintext = random(len);
    return { plaintext, wrapped: wrap(key, plaintext, aad) };
  },

  unwrap: (_call, key, wrapped, aad) => unwrap(key, wrapped, aad),

  rewrap(_call, source, target, wrapped, sourceAad, targetAad) {
    return wrap(target, unwrap(source, wrapped, sourceAad), targetAad);
  },

  destroyKey(_call, _key) {
    // The key-ref is all there is, and the host forgets it.
  },

  resealKey(_call, key) {
    const { kekVersion, kind, algorithm, material } = openKey(key);
    return kekVersion === currentKek().version ? undefined : sealKey(key.identity, kind, algorithm, material);
  },

  random: (_call, len) => random(len),

  createImportKey: notHere,
  openImport: notHere,
  createTransportKey: notHere,
  sealForTransport: notHere,
  openTransport: notHere,
};

// An Error that nobody expected becomes an error that the contract knows: as it is, it would be a trap that says nothing.
function told(name, work) {
  return (...given) => {
    try {
      return work(...given);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const text = `${error}\n${error.stack}`.slice(0, 1000);
      throw name === 'configure' ? { path: '', message: text } : { tag: 'internal', val: text };
    }
  };
}

export const backend = Object.fromEntries(Object.entries(functions).map(([name, work]) => [name, told(name, work)]));
