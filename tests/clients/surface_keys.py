"""Keys by the official SDK: create, read, the actions, the states, and the ends of a key."""

import io
import json
import os
from datetime import timedelta

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
    dated,
    metadata,
    moment,
    near,
    new_key,
    refused,
    resource,
    resources_of,
    travel,
    unique,
)

# What every key has, whatever it is.
ALWAYS = {
    "type",
    "id",
    "name",
    "state",
    "extractable",
    "keyRingID",
    "crn",
    "imported",
    "creationDate",
    "createdBy",
    "deleted",
    "dualAuthDelete",
    "algorithmType",
    "algorithmMetadata",
    "algorithmBitSize",
    "algorithmMode",
    "lastUpdateDate",
}


def of(key):
    return {"id": key, "bluemix_instance": FIRST}


def create_and_read():
    manager, alias, name = client("manager"), unique("surface"), unique("surface")
    now = travel("0s")
    expires = now + timedelta(days=30)
    key = create(
        manager,
        name,
        ring="default",
        aliases=[alias],
        description="for the surface test",
        tags=["one", "two"],
        expirationDate=dated(expires),
    )
    assert ALWAYS <= key.keys(), ALWAYS - key.keys()
    assert (key["type"], key["name"], key["state"], key["keyRingID"]) == (KEY_TYPE, name, 1, "default")
    assert (key["aliases"], key["description"], key["tags"]) == ([alias], "for the surface test", ["one", "two"])
    assert (key["extractable"], key["imported"], key["deleted"]) == (False, False, False)
    assert key["dualAuthDelete"] == {"enabled": False} and "rotation" not in key and "payload" not in key
    assert moment(key["expirationDate"]) == expires and near(moment(key["creationDate"]), now)
    crn = key["crn"].split(":")
    assert crn[:5] == ["crn", "v1", "bluemix", "public", "kms"] and crn[7:] == [FIRST, "key", key["id"]], key["crn"]
    assert key["keyVersion"]["id"] == key["id"] and moment(key["keyVersion"]["creationDate"])

    read = resource(200, manager.get_key(**of(key["id"])))
    assert read["crn"] == key["crn"] and "payload" not in read
    assert resource(200, manager.get_key(**of(alias)))["id"] == key["id"]
    about = metadata(client("reader"), key["id"])
    assert about["crn"] == key["crn"] and "payload" not in about
    refused(401, None, client("reader").get_key, **of(key["id"]))

    # As the SDK's own suite does it: the body is a stream.
    stream = io.BytesIO(new_key(name).encode())
    response = manager.create_key(bluemix_instance=FIRST, key_create_body=stream)
    assert response.get_result().json()["resources"][0]["id"]
    assert create(manager, name, prefer="return=minimal")["id"]


def refused_creates():
    manager = client("manager")

    def refuse(status, code, *resources, **more):
        body = json.dumps(collection(*resources))
        return refused(status, code, manager.create_key, bluemix_instance=FIRST, key_create_body=body, **more)

    key = {"type": KEY_TYPE, "name": "refused", "extractable": False}
    refuse(400, "BAD_BODY_ERR")
    refuse(400, "BAD_BODY_ERR", key, key)
    refuse(400, "MISSING_FIELD_ERR", {"type": KEY_TYPE, "extractable": False})
    refuse(400, "INVALID_FIELD_ERR", {**key, "payload": "not base64!"})
    refuse(400, "INVALID_FIELD_ERR", {**key, "payload": b64(os.urandom(20))})
    refuse(400, "INVALID_FIELD_ERR", {**key, "tags": ["a<b"]})
    refuse(400, "INVALID_FIELD_ERR", {**key, "description": "x" * 241})
    refuse(404, "KEY_RING_NOT_FOUND_ERR", key, x_kms_key_ring=unique("none"))
    refused(400, None, manager.create_key, bluemix_instance=FIRST, key_create_body="{")
    refused(400, None, manager.create_key, bluemix_instance="no-uuid", key_create_body=new_key("refused"))
    refused(401, None, client("reader").create_key, bluemix_instance=FIRST, key_create_body="{")
    reasons = refuse(400, None, {"type": KEY_TYPE, "extractable": False, "payload": "not base64!", "tags": ["a<b"]})
    assert len(reasons) >= 2, f"only one of several faults is named: {reasons}"


def crypto():
    manager = client("manager")
    key = create(manager, unique("crypto"))["id"]
    aad = ["who", "what"]
    wrapped = action(manager.wrap_key, key, {"plaintext": b64(b"eighteen bytes: ok"), "aad": aad})
    assert wrapped.keys() == {"ciphertext", "keyVersion"} and wrapped["keyVersion"]["id"] == key
    unwrapped = action(manager.unwrap_key, key, {"ciphertext": wrapped["ciphertext"], "aad": aad})
    assert unwrapped == {"plaintext": b64(b"eighteen bytes: ok"), "keyVersion": {"id": key}}
    again = action(manager.rewrap_key, key, {"ciphertext": wrapped["ciphertext"], "aad": aad})
    assert again.keys() == {"ciphertext", "keyVersion", "rewrappedKeyVersion"}
    assert (again["keyVersion"], again["rewrappedKeyVersion"]) == ({"id": key}, {"id": key})
    made = answered(200, manager.wrap_key(**of(key)))
    assert made.keys() == {"plaintext", "ciphertext", "keyVersion"}

    other = create(manager, unique("crypto"))["id"]
    foreign = json.dumps({"ciphertext": wrapped["ciphertext"], "aad": aad})
    for method, name in ((manager.unwrap_key, "unwrap"), (manager.rewrap_key, "rewrap")):
        refused(422, "UNPROCESSABLE_CIPHERTEXT_ERR", method, **of(other), **{f"key_action_{name}_body": foreign})
        refused(400, "MISSING_FIELD_ERR", method, **of(key), **{f"key_action_{name}_body": '{"aad": []}'})
        refused(400, "NO_BODY_ERR", method, **of(key), **{f"key_action_{name}_body": ""})
        refused(400, "INVALID_FIELD_ERR", method, **of(key), **{f"key_action_{name}_body": '{"ciphertext": "?"}'})
    refused(400, "INVALID_FIELD_ERR", manager.wrap_key, **of(key), key_action_wrap_body='{"plaintext": "?"}')
    refused(
        400,
        "INVALID_FIELD_ERR",
        manager.wrap_key,
        **of(key),
        key_action_wrap_body=json.dumps({"plaintext": b64(b"x"), "aad": ["x" * 256]}),
    )


def rotation_and_versions():
    manager, payload = client("manager"), b64(os.urandom(32))
    key = create(manager, unique("rotate"))["id"]
    refused(
        400,
        "INVALID_QUERY_PARAM_ERR",
        manager.rotate_key,
        **of(key),
        key_action_rotate_body=json.dumps({"payload": payload}),
    )
    answered(204, manager.rotate_key(**of(key)))
    refused(409, "KEY_ROTATION_NOT_PERMITTED", manager.rotate_key, **of(key))
    travel("1h")
    answered(204, manager.rotate_key(**of(key), key_action_rotate_body="{}", prefer="return=representation"))
    response = manager.get_key_versions(**of(key), limit=2, offset=0, total_count=True, all_key_states=False)
    body = body_of(response)
    assert (body["metadata"]["collectionTotal"], body["metadata"]["totalCount"]) == (2, 3)
    newest, middle = body["resources"]
    assert moment(newest["creationDate"]) > moment(middle["creationDate"]) and newest["id"] != middle["id"]
    (oldest,) = resources_of(200, manager.get_key_versions(**of(key), limit=2, offset=2))
    assert oldest["id"] == key
    about = metadata(manager, key)
    assert about["keyVersion"]["id"] == newest["id"] and near(
        moment(about["lastRotateDate"]), moment(newest["creationDate"])
    )
    refused(400, "INVALID_QUERY_PARAM_ERR", manager.get_key_versions, **of(key), limit=5001)

    imported = create(manager, unique("rotate"), payload=b64(os.urandom(16)))
    assert imported["imported"] is True
    refused(400, "KEY_PAYLOAD_REQ_ERR", manager.rotate_key, **of(imported["id"]))
    answered(204, manager.rotate_key(**of(imported["id"]), key_action_rotate_body=json.dumps({"payload": payload})))
    standard = create(manager, unique("rotate"), extractable=True)["id"]
    refused(400, "KEY_ROOT_REQ_ERR", manager.rotate_key, **of(standard))


def disable_and_enable():
    manager = client("manager")
    key = create(manager, unique("suspend"))["id"]
    wrapped = action(manager.wrap_key, key, {})
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.enable_key, **of(key))
    refused(401, None, client("writer").disable_key, **of(key))
    answered(204, manager.disable_key(**of(key)))
    assert metadata(manager, key)["state"] == 2
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.disable_key, **of(key))
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.wrap_key, **of(key))
    refused(
        409,
        "KEY_ACTION_INVALID_STATE_ERR",
        manager.unwrap_key,
        **of(key),
        key_action_unwrap_body=json.dumps({"ciphertext": wrapped["ciphertext"]}),
    )
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.rotate_key, **of(key))
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.get_key_versions, **of(key))
    assert len(resources_of(200, manager.get_key_versions(**of(key), all_key_states=True))) == 1
    refused(409, "REQ_TOO_EARLY_ERR", manager.enable_key, **of(key))
    travel("31s")
    answered(204, manager.enable_key(**of(key)))
    assert metadata(manager, key)["state"] == 1
    assert action(manager.unwrap_key, key, {"ciphertext": wrapped["ciphertext"]})["plaintext"] == wrapped["plaintext"]
    standard = create(manager, unique("suspend"), extractable=True)["id"]
    refused(400, "KEY_ROOT_REQ_ERR", manager.disable_key, **of(standard))
    refused(400, "KEY_ROOT_REQ_ERR", manager.enable_key, **of(standard))


def expiration():
    manager = client("manager")
    now = travel("0s")
    expires = dated(now + timedelta(hours=2))
    key = create(manager, unique("expire"), expirationDate=expires)["id"]
    wrapped = action(manager.wrap_key, key, {})
    travel("3h")
    about = metadata(manager, key)
    assert (about["state"], about["expirationDate"]) == (3, expires)
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.wrap_key, **of(key))
    assert action(manager.unwrap_key, key, {"ciphertext": wrapped["ciphertext"]})["plaintext"] == wrapped["plaintext"]
    answered(204, manager.rotate_key(**of(key)))
    assert metadata(manager, key)["expirationDate"] == expires
    refused(
        400,
        "INVALID_FIELD_ERR",
        manager.create_key,
        bluemix_instance=FIRST,
        key_create_body=new_key("expired", expirationDate=dated(now)),
    )
    answered(204, manager.delete_key(**of(key)))
    travel("31s")
    refused(400, "KEY_EXPIRED_ERR", manager.restore_key, **of(key))


def delete_and_restore():
    manager = client("manager")
    key = create(manager, unique("delete"))["id"]
    wrapped = action(manager.wrap_key, key, {})
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", manager.restore_key, **of(key))
    refused(401, None, client("writer").delete_key, **of(key))
    gone = resource(200, manager.delete_key(**of(key), prefer="return=representation", force=False))
    assert (gone["state"], gone["deleted"], gone["id"]) == (5, True, key) and gone["deletedBy"]
    deleted = moment(gone["deletionDate"])
    assert moment(gone["restoreExpirationDate"]) == deleted + timedelta(days=30)
    assert gone["purgeAllowed"] is False
    assert moment(gone["purgeAllowedFrom"]) == deleted + timedelta(hours=4)
    assert moment(gone["purgeScheduledOn"]) - moment(gone["purgeAllowedFrom"]) == timedelta(hours=2156)
    assert gone["keyVersion"]["id"] == key and "creationDate" not in gone["keyVersion"]
    refused(410, "KEY_DELETED_ERR", manager.delete_key, **of(key))
    refused(410, "KEY_DELETED_ERR", manager.rotate_key, **of(key))
    refused(410, None, manager.get_key_versions, **of(key))
    refused(409, "REQ_TOO_EARLY_ERR", manager.restore_key, **of(key))
    travel("31s")
    assert metadata(manager, key)["restoreAllowed"] is True
    back = resource(201, manager.restore_key(**of(key), prefer="return=representation"))
    assert (back["id"], back["state"], back["deleted"]) == (key, 1, False)
    assert "deletionDate" not in back and "restoreAllowed" not in back
    assert action(manager.unwrap_key, key, {"ciphertext": wrapped["ciphertext"]})["plaintext"] == wrapped["plaintext"]

    answered(204, manager.delete_key(**of(key)))
    travel("721h")
    refused(400, "KEY_RESTORE_EXPIRED", manager.restore_key, **of(key))
    assert metadata(manager, key)["restoreAllowed"] is False


def purge():
    manager, purger = client("manager"), client("purger")
    kept, shown = create(manager, unique("purge"))["id"], create(manager, unique("purge"), extractable=True)["id"]
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", purger.purge_key, **of(kept))
    for key in (kept, shown):
        answered(204, manager.delete_key(**of(key)))
    refused(409, "REQ_TOO_EARLY_ERR", purger.purge_key, **of(kept))
    travel("4h")
    assert metadata(manager, kept)["purgeAllowed"] is True
    refused(401, None, manager.purge_key, **of(kept))
    answered(204, purger.purge_key(**of(kept)))
    assert resource(200, purger.purge_key(**of(shown), prefer="return=representation"))["id"] == shown
    for key in (kept, shown):
        refused(404, "KEY_NOT_FOUND_ERR", manager.get_key_metadata, **of(key))
    refused(404, "KEY_NOT_FOUND_ERR", purger.purge_key, **of(kept))
    # Nobody has to: after 90 days it happens of itself.
    forgotten = create(manager, unique("purge"))["id"]
    answered(204, manager.delete_key(**of(forgotten)))
    travel("2161h")
    refused(404, "KEY_NOT_FOUND_ERR", manager.get_key_metadata, **of(forgotten))


def sync():
    manager = client("manager")
    key = create(manager, unique("sync"))["id"]
    answered(204, manager.sync_associated_resources(**of(key)))
    refused(409, "REQ_TOO_EARLY_ERR", manager.sync_associated_resources, **of(key))
    travel("1h")
    answered(204, manager.sync_associated_resources(**of(key)))
    standard = create(manager, unique("sync"), extractable=True)["id"]
    refused(400, "KEY_ROOT_REQ_ERR", manager.sync_associated_resources, **of(standard))
    refused(401, None, client("reader").sync_associated_resources, **of(key))


def deprecated_actions():
    manager = client("manager")
    key = create(manager, unique("deprecated"))["id"]

    def act(name, body="{}", **more):
        return manager.action_on_key(**of(key), action=name, key_action_body=body, **more)

    wrapped = answered(200, act("wrap", json.dumps({"plaintext": b64(b"as of old")})))
    body = json.dumps({"ciphertext": wrapped["ciphertext"]})
    assert answered(200, act("unwrap", body))["plaintext"] == b64(b"as of old")
    answered(204, act("rotate"))
    assert answered(200, act("rewrap", body))["rewrappedKeyVersion"]["id"] != key
    answered(204, act("disable"))
    travel("31s")
    answered(204, act("enable"))
    refused(409, "NOT_DUAL_AUTH_ERR", act, "setKeyForDeletion")
    refused(409, "NOT_DUAL_AUTH_ERR", act, "unsetKeyForDeletion")
    answered(204, manager.delete_key(**of(key)))
    travel("31s")
    assert resource(201, act("restore", prefer="return=representation"))["state"] == 1
    refused(400, "INVALID_QUERY_PARAM_ERR", act, "wink")


PARTS = (
    create_and_read,
    refused_creates,
    crypto,
    rotation_and_versions,
    disable_and_enable,
    expiration,
    delete_and_restore,
    purge,
    sync,
    deprecated_actions,
)
