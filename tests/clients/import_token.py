"""Keys brought along under an import token, as the documentation tells users to: the official SDK for the requests,
PyCA's `cryptography` for the rest. The gateway must be in dev mode and new.
"""

import base64
import json
import os
from datetime import timedelta

from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as asymmetric
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from harness import (
    FIRST,
    KEY_TYPE,
    action,
    answered,
    b64,
    body_of,
    client,
    collection,
    create,
    metadata,
    moment,
    new_key,
    refused,
    resource,
    run,
    travel,
    unique,
)

SHA_256, SHA_1 = "RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"
HASHES = {SHA_256: hashes.SHA256, SHA_1: hashes.SHA1}


class Token:
    """A transport key and a nonce, as they were retrieved."""

    def __init__(self, answer):
        pem = base64.b64decode(answer["payload"], validate=True)
        assert pem.startswith(b"-----BEGIN PUBLIC KEY-----"), pem
        self.key = serialization.load_pem_public_key(pem)
        assert isinstance(self.key, RSAPublicKey) and self.key.key_size == 4096
        assert self.key.public_numbers().e == 65537
        self.nonce = base64.b64decode(answer["nonce"], validate=True)
        assert len(self.nonce) == 12, self.nonce

    def pack(self, material, algorithm=SHA_256, nonce=None, under=None, iv=None):
        """What goes into a request: the material under the public key, the nonce under the material."""
        digest = HASHES[algorithm]
        oaep = asymmetric.OAEP(mgf=asymmetric.MGF1(algorithm=digest()), algorithm=digest(), label=None)
        nonce, under = nonce or self.nonce, under or material
        if algorithm == SHA_256:
            iv = iv or os.urandom(12)
            encrypted = AESGCM(under).encrypt(iv, nonce, None)
            assert len(encrypted) == 28
        else:
            iv = iv or os.urandom(16)
            padder = padding.PKCS7(128).padder()
            cipher = Cipher(algorithms.AES(under), modes.CBC(iv)).encryptor()
            encrypted = cipher.update(padder.update(nonce) + padder.finalize()) + cipher.finalize()
        return {
            "payload": b64(self.key.encrypt(material, oaep)),
            "encryptedNonce": b64(encrypted),
            "iv": b64(iv),
            "encryptionAlgorithm": algorithm,
        }


def new_token(**terms):
    manager = client("manager")
    answered(200, manager.post_import_token(bluemix_instance=FIRST, **terms))
    return Token(body_of(manager.get_import_token(bluemix_instance=FIRST)))


def refuse(status, code, pack, **more):
    body = new_key(unique("refused"), **{**pack, **more})
    refused(status, code, client("manager").create_key, bluemix_instance=FIRST, key_create_body=body)


def works(key):
    """What a key wraps, it unwraps."""
    manager = client("manager")
    wrapped = action(manager.wrap_key, key, {})
    assert action(manager.unwrap_key, key, {"ciphertext": wrapped["ciphertext"]})["plaintext"] == wrapped["plaintext"]
    return wrapped


def import_of_every_size():
    manager, token = client("manager"), new_token()
    for size in (16, 24, 32):
        for algorithm in (SHA_256, SHA_1):
            key = create(manager, unique("imported"), **token.pack(os.urandom(size), algorithm))
            assert key["imported"] is True and key["extractable"] is False and "payload" not in key
            assert metadata(manager, key["id"])["imported"] is True
            works(key["id"])


def rotate_and_restore_under_a_token():
    manager, token = client("manager"), new_token()
    key = create(manager, unique("imported"), **token.pack(os.urandom(32)))["id"]
    of = {"id": key, "bluemix_instance": FIRST}
    before = works(key)
    answered(204, manager.rotate_key(**of, key_action_rotate_body=json.dumps(token.pack(os.urandom(24)))))
    after = action(manager.unwrap_key, key, {"ciphertext": before["ciphertext"]})
    assert after["plaintext"] == before["plaintext"] and after["rewrappedKeyVersion"]["id"] != key
    travel("1h")
    token = new_token()
    wrong = token.pack(os.urandom(32), nonce=os.urandom(12))
    refused(400, "INCORRECT_NONCE_ERR", manager.rotate_key, **of, key_action_rotate_body=json.dumps(wrong))
    answered(204, manager.rotate_key(**of, key_action_rotate_body=json.dumps(token.pack(os.urandom(16), SHA_1))))

    answered(204, manager.delete_key(**of))
    travel("31s")
    body = collection({"type": KEY_TYPE, **token.pack(os.urandom(32))})
    back = resource(201, manager.raw("POST", f"/keys/{key}/restore", body, headers={"Prefer": "return=representation"}))
    assert (back["id"], back["state"], back["imported"]) == (key, 1, True)
    works(key)


def what_does_not_fit():
    token = new_token(max_allowed_retrievals=500)
    for algorithm, iv in ((SHA_256, 12), (SHA_1, 16)):
        material = os.urandom(32)
        good = token.pack(material, algorithm)
        if algorithm == SHA_256:
            refuse(400, "INCORRECT_NONCE_ERR", token.pack(material, algorithm, nonce=os.urandom(12)))
            refuse(400, "INCORRECT_NONCE_IV_ERR", good, iv=b64(os.urandom(iv)))
            refuse(400, "INCORRECT_NONCE_IV_ERR", token.pack(material, algorithm, under=os.urandom(32)))
        else:
            # Nothing authenticates the nonce here, so that a wrong one and one under a wrong key or iv look alike.
            refuse(400, "INCORRECT_NONCE_IV_ERR", token.pack(material, algorithm, nonce=os.urandom(12)))
            refuse(400, "INCORRECT_NONCE_IV_ERR", good, iv=b64(os.urandom(iv)))
            refuse(400, "INCORRECT_NONCE_IV_ERR", token.pack(material, algorithm, under=os.urandom(32)))
        refuse(400, None, good, payload=b64(os.urandom(512)))
        refuse(400, None, good, payload=b64(os.urandom(32)))
        refuse(400, None, token.pack(os.urandom(20), algorithm, under=os.urandom(32)))
        for field in ("encryptedNonce", "iv"):
            refuse(400, None, {name: value for name, value in good.items() if name != field})
            refuse(400, "INVALID_FIELD_ERR", good, **{field: "not base64!"})
        refuse(400, None, good, extractable=True)
    # One algorithm's material is not the other's.
    refuse(400, None, token.pack(os.urandom(32), SHA_1), encryptionAlgorithm=SHA_256)
    refuse(400, None, token.pack(os.urandom(32)), encryptionAlgorithm="RSAES_PKCS1_V1_5")


def retrievals_are_counted():
    manager = client("manager")
    made = answered(200, manager.post_import_token(bluemix_instance=FIRST, expiration=300, max_allowed_retrievals=2))
    assert (made["maxAllowedRetrievals"], made["remainingRetrievals"]) == (2, 2)
    assert moment(made["expirationDate"]) - moment(made["creationDate"]) == timedelta(seconds=300)
    answers = [body_of(manager.get_import_token(bluemix_instance=FIRST)) for _ in range(2)]
    assert [answer["remainingRetrievals"] for answer in answers] == [1, 0]
    assert answers[0]["payload"] == answers[1]["payload"] and answers[0]["nonce"] == answers[1]["nonce"]
    refused(409, "IMPORT_TOKEN_EXPIRED_ERR", manager.get_import_token, bluemix_instance=FIRST)
    # Nobody retrieves it any more, and it is as good as before for what was retrieved.
    token = Token(answers[1])
    for _ in range(2):
        works(create(manager, unique("imported"), **token.pack(os.urandom(32)))["id"])
    travel("301s")
    refused(409, "IMPORT_TOKEN_EXPIRED_ERR", manager.get_import_token, bluemix_instance=FIRST)
    refuse(409, "IMPORT_TOKEN_EXPIRED_ERR", token.pack(os.urandom(32)))


def a_new_token_replaces_the_old():
    manager, old = client("manager"), new_token()
    new = new_token()
    assert old.nonce != new.nonce and old.key.public_numbers().n != new.key.public_numbers().n
    refuse(400, None, old.pack(os.urandom(32)))
    works(create(manager, unique("imported"), **new.pack(os.urandom(32)))["id"])


def imports_that_must_come_under_a_token():
    manager = client("manager")

    def switch(**data):
        policy = {"policy_type": "keyCreateImportAccess", "policy_data": data}
        answered(
            204,
            manager.put_instance_policy(
                bluemix_instance=FIRST,
                policy="keyCreateImportAccess",
                instance_policy_put_body=collection(policy, kind="application/vnd.ibm.kms.policy+json"),
            ),
        )

    token = new_token()
    switch(enabled=True, attributes={"enforce_token": True})
    refuse(409, "KEY_CREATE_IMPORT_ACCESS_ERR", {}, payload=b64(os.urandom(32)))
    key = create(manager, unique("imported"), **token.pack(os.urandom(32)))["id"]
    plain = json.dumps({"payload": b64(os.urandom(32))})
    refused(
        409,
        "KEY_CREATE_IMPORT_ACCESS_ERR",
        manager.rotate_key,
        id=key,
        bluemix_instance=FIRST,
        key_action_rotate_body=plain,
    )
    packed = json.dumps(token.pack(os.urandom(32)))
    answered(204, manager.rotate_key(id=key, bluemix_instance=FIRST, key_action_rotate_body=packed))
    switch(enabled=False)


if __name__ == "__main__":
    run(
        import_of_every_size,
        rotate_and_restore_under_a_token,
        what_does_not_fit,
        retrievals_are_counted,
        a_new_token_replaces_the_old,
        imports_that_must_come_under_a_token,
    )
