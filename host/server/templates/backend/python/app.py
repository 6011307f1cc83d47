"""A backend for Keygate that keeps keys in software.

Key material is sealed under the KEK (key-encryption key) that the operator grants; plaintexts are sealed under key
material. Both with ChaCha20-Poly1305 under a key of its own for each message, derived with HMAC-SHA-256 from the key and 32
random bytes: nothing has to be counted. Everything that is sealed is bound to what it is and which key version it belongs
to.

A key-ref: format (1 byte, 1), version of the KEK (4, big-endian), kind (1), algorithm (1), salt (32), the sealed material.
A ciphertext: format (1 byte, 1), salt (32), the sealed plaintext. Whatever you change, keep reading what earlier versions
wrote: give a new format a new first byte.

The cipher is a library's: never write one. It is pure Python (tlslite-ng, under the LGPL 2.1), which is slow, cannot
promise to take the same time for every key, and cannot wipe what it held; a sandbox lives for one call and its memory is
wiped then. Where that is not enough, write it in Rust.
"""

# Import everything here, while the component is being built. In the gateway there are no files to import from.
import hashlib
import hmac
import json
import struct
from typing import NoReturn, Optional

from componentize_py_types import Err
from tlslite.utils.chacha20_poly1305 import CHACHA20_POLY1305
from wit_world import exports
from wit_world.imports import random as host_random
from wit_world.imports import secrets
from wit_world.imports.types import (
    Call,
    DataKey,
    Description,
    Error_AuthenticationFailed,
    Error_Internal,
    Error_InvalidInput,
    Error_InvalidKeyRef,
    Error_Unavailable,
    Error_Unsupported,
    ImportEnvelope,
    Imported,
    Key,
    KeyIdentity,
    KeyKind,
    KeyPair,
    KeySpec,
    SettingsError,
)

NAME = "{{name}}"
FORMAT = 1
HEAD = struct.Struct(">BIBB")
SALT = 32
# Each message has a key of its own, so its nonce need not differ from another's.
NONCE = bytearray(12)
MAX_MATERIAL = 7_680
ROOT, STANDARD = 1, 2
KINDS = {KeyKind.ROOT: ROOT, KeyKind.STANDARD: STANDARD}

# The name of the granted secret: `settings = { kek = "kek" }`.
kek_name = "kek"


def bound(purpose: str, more: bytes, identity: KeyIdentity) -> bytearray:
    """What is bound into everything that is sealed: what it is, whose it is, and `more`.

    Each part has its length in front, so that no two different lists of parts are the same bytes.
    """
    texts = [NAME, purpose, identity.instance_id, identity.key_id, identity.version_id]
    aad = bytearray()
    for part in [*(text.encode() for text in texts), more]:
        aad += struct.pack(">Q", len(part)) + part
    return aad


def derive(key: bytes, what: bytes) -> bytearray:
    return bytearray(hmac.new(key, what, hashlib.sha256).digest())


def random_bytes(length: int) -> bytes:
    # The host gives at most 4,096 bytes at a time.
    return b"".join(host_random.bytes(min(4_096, length - at)) for at in range(0, length, 4_096))


def seal(key: bytes, plaintext: bytes, aad: bytearray) -> bytes:
    salt = random_bytes(SALT)
    return salt + bytes(CHACHA20_POLY1305(derive(key, b"message" + salt), "python").seal(NONCE, bytearray(plaintext), aad))


def unseal(key: bytes, sealed: bytes, aad: bytearray) -> Optional[bytes]:
    """Opens what `seal` made with the same key and `aad`, and nothing else."""
    salt, ciphertext = sealed[:SALT], bytearray(sealed[SALT:])
    opened = CHACHA20_POLY1305(derive(key, b"message" + salt), "python").open(NONCE, ciphertext, aad)
    return None if opened is None else bytes(opened)


def secret(version: Optional[int] = None) -> secrets.Secret:
    try:
        found = secrets.current(kek_name) if version is None else secrets.version(kek_name, version)
    except Err as error:
        if isinstance(error.value, secrets.Error_NoSuchVersion):
            raise Err(Error_InvalidKeyRef())
        if isinstance(error.value, secrets.Error_NotGranted):
            raise Err(Error_Unavailable("the secret of the setting `kek` is not granted"))
        raise Err(Error_Unavailable(error.value.value))
    if len(found.value) != 32:
        raise Err(Error_Unavailable(f"the secret `{kek_name}` has {len(found.value)} bytes; a KEK has 32"))
    return found


def seal_key(identity: KeyIdentity, kind: int, algorithm: int, material: bytes) -> bytes:
    """Seals material under the newest KEK."""
    kek = secret()
    head = HEAD.pack(FORMAT, kek.version, kind, algorithm)
    return head + seal(kek.value, material, bound("key-ref", head, identity))


class Opened:
    """A key-ref, opened."""

    def __init__(self, key: Key) -> None:
        head, sealed = key.reference[: HEAD.size], key.reference[HEAD.size :]
        if len(head) < HEAD.size or head[0] != FORMAT:
            raise Err(Error_InvalidKeyRef())
        _, self.kek_version, self.kind, self.algorithm = HEAD.unpack(head)
        material = unseal(secret(self.kek_version).value, sealed, bound("key-ref", head, key.identity))
        if material is None:
            raise Err(Error_InvalidKeyRef())
        self.material = material


def data_key(key: Key) -> bytes:
    """What a root key seals with. The material may have 16, 24 or 32 bytes."""
    opened = Opened(key)
    if opened.kind != ROOT:
        raise Err(Error_InvalidInput("a standard key does not wrap"))
    return derive(opened.material, b"data key 1")


def algorithm(spec: KeySpec) -> int:
    if spec.algorithm == "AES" and spec.bits in (128, 192, 256):
        return 1
    fits = 8 <= spec.bits <= 8 * MAX_MATERIAL and spec.bits % 8 == 0
    if spec.algorithm == "SECRET" and spec.kind == KeyKind.STANDARD and fits:
        return 2
    raise Err(Error_Unsupported(f"there are no such keys: {spec.algorithm} with {spec.bits} bits"))


def not_here() -> NoReturn:
    raise Err(Error_Unsupported("this backend does not do that"))


def known_answer() -> None:
    """The example of RFC 8439, section 2.8.2: shows that the cipher is the right one."""
    nonce = bytearray.fromhex("070000004041424344454647")
    aad = bytearray.fromhex("50515253c0c1c2c3c4c5c6c7")
    found = CHACHA20_POLY1305(bytearray(range(0x80, 0xA0)), "python").seal(nonce, bytearray(b"Ladies and Gentl"), aad)
    if found[:8].hex() != "d31a8d34648e60db":
        raise Err(Error_Internal("the known answer is another"))


class Backend(exports.Backend):
    def describe(self) -> Description:
        return Description(NAME, "0.1.0", ["AES", "SECRET"], max_plaintext=7_168, max_material=MAX_MATERIAL, features=[])

    def configure(self, settings: str) -> None:
        global kek_name
        given = json.loads(settings)
        for name in given:
            if name != "kek":
                raise Err(SettingsError(name, "there is no such setting; the only one is `kek`"))
        kek_name = given.get("kek", "kek")
        if not isinstance(kek_name, str):
            raise Err(SettingsError("kek", "expected the name of a granted secret"))

    def probe(self, call: Call) -> None:
        known_answer()
        secret()

    def generate_key(self, call: Call, identity: KeyIdentity, spec: KeySpec) -> bytes:
        return seal_key(identity, KINDS[spec.kind], algorithm(spec), random_bytes(spec.bits // 8))

    def import_key(self, call: Call, identity: KeyIdentity, spec: KeySpec, material: bytes) -> bytes:
        known = algorithm(spec)
        if len(material) != spec.bits // 8:
            raise Err(Error_InvalidInput("the material has not the size that it should have"))
        return seal_key(identity, KINDS[spec.kind], known, material)

    def export_key(self, call: Call, key: Key) -> bytes:
        opened = Opened(key)
        if opened.kind != STANDARD:
            raise Err(Error_Unsupported("the material of a root key never leaves"))
        return opened.material

    def wrap(self, call: Call, key: Key, plaintext: bytes, aad: bytes) -> bytes:
        return bytes([FORMAT]) + seal(data_key(key), plaintext, bound("wrap", aad, key.identity))

    def generate_data_key(self, call: Call, key: Key, len: int, aad: bytes) -> DataKey:
        plaintext = random_bytes(len)
        return DataKey(plaintext, self.wrap(call, key, plaintext, aad))

    def unwrap(self, call: Call, key: Key, wrapped: bytes, aad: bytes) -> bytes:
        under = data_key(key)
        plaintext = unseal(under, wrapped[1:], bound("wrap", aad, key.identity)) if wrapped[:1] == bytes([FORMAT]) else None
        if plaintext is None:
            raise Err(Error_AuthenticationFailed())
        return plaintext

    def rewrap(
        self, call: Call, source: Key, target: Key, wrapped: bytes, source_aad: bytes, target_aad: bytes
    ) -> bytes:
        return self.wrap(call, target, self.unwrap(call, source, wrapped, source_aad), target_aad)

    def destroy_key(self, call: Call, key: Key) -> None:
        # The key-ref is all there is, and the host forgets it.
        pass

    def reseal_key(self, call: Call, key: Key) -> Optional[bytes]:
        opened = Opened(key)
        if opened.kek_version == secret().version:
            return None
        return seal_key(key.identity, opened.kind, opened.algorithm, opened.material)

    def random(self, call: Call, len: int) -> bytes:
        return random_bytes(len)

    def create_import_key(self, call: Call, identity: KeyIdentity, algorithm: str) -> KeyPair:
        not_here()

    def open_import(
        self, call: Call, import_key: Key, identity: KeyIdentity, spec: KeySpec, envelope: ImportEnvelope
    ) -> Imported:
        not_here()

    def create_transport_key(self, call: Call, identity: KeyIdentity) -> KeyPair:
        not_here()

    def seal_for_transport(self, call: Call, key: Key, recipient: bytes) -> bytes:
        not_here()

    def open_transport(self, call: Call, transport_key: Key, identity: KeyIdentity, spec: KeySpec, sealed: bytes) -> bytes:
        not_here()
