"""The official Key Protect SDK, unchanged but for its URL, on the whole journey of a key.

Fails by an exception.
"""

import base64
import json
import os
import uuid

from harness import FIRST, KEY_TYPE, SECOND, action, b64, body_of, client, create, refused, run


def journey():
    manager = client("manager")
    key = create(manager, "journey-root")
    assert key["extractable"] is False and key["state"] == 1 and "payload" not in key
    key_id = key["id"]
    assert key["keyVersion"]["id"] == key_id

    data_key, aad = os.urandom(32), ["context", "of the data"]
    wrapped = action(manager.wrap_key, key_id, {"plaintext": b64(data_key), "aad": aad})
    assert wrapped["keyVersion"]["id"] == key_id
    unwrapped = action(manager.unwrap_key, key_id, {"ciphertext": wrapped["ciphertext"], "aad": aad})
    assert base64.b64decode(unwrapped["plaintext"]) == data_key
    assert "rewrappedKeyVersion" not in unwrapped
    wrong = {"id": key_id, "bluemix_instance": FIRST}
    refused(
        422,
        "UNPROCESSABLE_CIPHERTEXT_ERR",
        manager.unwrap_key,
        **wrong,
        key_action_unwrap_body=json.dumps({"ciphertext": wrapped["ciphertext"], "aad": ["another"]}),
    )

    made = action(manager.wrap_key, key_id, {})
    again = action(manager.unwrap_key, key_id, {"ciphertext": made["ciphertext"]})
    assert len(base64.b64decode(made["plaintext"])) == 32 and again["plaintext"] == made["plaintext"]

    rotated = manager.rotate_key(
        id=key_id, bluemix_instance=FIRST, key_action_rotate_body="{}", prefer="return=representation"
    )
    assert rotated.get_status_code() == 204
    refused(
        409,
        "KEY_ROTATION_NOT_PERMITTED",
        manager.rotate_key,
        id=key_id,
        bluemix_instance=FIRST,
        key_action_rotate_body="{}",
    )
    versions = body_of(manager.get_key_versions(id=key_id, bluemix_instance=FIRST, total_count=True))
    assert versions["metadata"]["totalCount"] == 2
    newest = versions["resources"][0]["id"]
    assert newest != key_id and versions["resources"][1]["id"] == key_id

    unwrapped = action(manager.unwrap_key, key_id, {"ciphertext": wrapped["ciphertext"], "aad": aad})
    assert base64.b64decode(unwrapped["plaintext"]) == data_key
    assert unwrapped["keyVersion"]["id"] == key_id and unwrapped["rewrappedKeyVersion"]["id"] == newest
    rewrapped = action(manager.rewrap_key, key_id, {"ciphertext": wrapped["ciphertext"], "aad": aad})
    assert "plaintext" not in rewrapped
    assert (rewrapped["keyVersion"]["id"], rewrapped["rewrappedKeyVersion"]["id"]) == (key_id, newest)
    for ciphertext in (unwrapped["ciphertext"], rewrapped["ciphertext"]):
        last = action(manager.unwrap_key, key_id, {"ciphertext": ciphertext, "aad": aad})
        assert base64.b64decode(last["plaintext"]) == data_key and last["keyVersion"]["id"] == newest

    metadata = body_of(manager.get_key_metadata(id=key_id, bluemix_instance=FIRST))["resources"][0]
    assert metadata["lastRotateDate"] and metadata["keyVersion"]["id"] == newest
    deleted = manager.delete_key(id=key_id, bluemix_instance=FIRST, prefer="return=representation", force=False)
    assert deleted.get_status_code() == 200 and body_of(deleted)["resources"][0]["state"] == 5
    refused(410, "KEY_DELETED_ERR", manager.wrap_key, id=key_id, bluemix_instance=FIRST, key_action_wrap_body="{}")


def standard_keys():
    manager = client("manager")
    payload = b64(b"a secret kept for its owner")
    key = create(manager, "journey-standard", extractable=True, payload=payload)
    assert key["payload"] == payload and key["imported"] is True
    found = body_of(client("reader_plus").get_key(id=key["id"], bluemix_instance=FIRST))["resources"][0]
    assert found["payload"] == payload
    refused(401, None, client("reader").get_key, id=key["id"], bluemix_instance=FIRST)
    refused(400, "KEY_ROOT_REQ_ERR", manager.wrap_key, id=key["id"], bluemix_instance=FIRST, key_action_wrap_body="{}")


def lists_and_aliases():
    manager = client("manager")
    alias = f"journey-{uuid.uuid4().hex[:12]}"
    key = create(manager, "journey-alias", aliases=[alias])
    reader = client("reader")
    wrapped = action(reader.wrap_key, alias, {"plaintext": b64(b"by alias")})
    assert action(reader.unwrap_key, key["id"], {"ciphertext": wrapped["ciphertext"]})["plaintext"] == b64(b"by alias")
    listed = body_of(reader.get_keys(bluemix_instance=FIRST, limit=5000))
    assert key["id"] in [resource["id"] for resource in listed["resources"]]
    head = reader.get_key_collection_metadata(bluemix_instance=FIRST)
    assert int(head.get_headers()["Key-Total"]) == len(listed["resources"])
    missing = str(uuid.uuid4())
    refused(404, "KEY_NOT_FOUND_ERR", reader.get_key_metadata, id=missing, bluemix_instance=FIRST)


def roles_and_instances():
    manager, reader, nobody = client("manager"), client("reader"), client("nobody")
    key = create(manager, "journey-rights")["id"]
    body = json.dumps(
        {
            "metadata": {"collectionType": KEY_TYPE, "collectionTotal": 1},
            "resources": [{"name": "x", "extractable": False}],
        }
    )
    refused(401, None, reader.create_key, bluemix_instance=FIRST, key_create_body=body)
    refused(401, None, reader.delete_key, id=key, bluemix_instance=FIRST)
    for call in (nobody.get_keys, nobody.get_key_collection_metadata):
        refused(401, None, call, bluemix_instance=FIRST)
    for call in (nobody.get_key, nobody.get_key_metadata, nobody.get_key_versions, nobody.delete_key):
        refused(401, None, call, id=key, bluemix_instance=FIRST)
    refused(401, None, nobody.create_key, bluemix_instance=FIRST, key_create_body=body)
    refused(401, None, nobody.wrap_key, id=key, bluemix_instance=FIRST, key_action_wrap_body="{}")
    refused(401, None, reader.get_keys, bluemix_instance=SECOND)
    refused(404, "KEY_NOT_FOUND_ERR", manager.get_key_metadata, id=key, bluemix_instance=SECOND)
    other = create(manager, "journey-second", instance=SECOND)["id"]
    refused(404, "KEY_NOT_FOUND_ERR", manager.wrap_key, id=other, bluemix_instance=FIRST, key_action_wrap_body="{}")


if __name__ == "__main__":
    run(journey, standard_keys, lists_and_aliases, roles_and_instances)
