"""Registrations and events: what services do, whom the SDK has no methods for, and what users see of it by the SDK."""

import uuid
from urllib.parse import quote

from harness import (
    FIRST,
    METHODS,
    SUCCEEDED,
    answered,
    body_of,
    client,
    collection,
    create,
    moment,
    refused,
    resource,
    resources_of,
    travel,
    unique,
)

SERVICE = "cloud-object-storage"
INPUT = "application/vnd.ibm.kms.registration_input+json"


def of(key):
    return {"id": key, "bluemix_instance": FIRST}


def bucket(name, instance, service=SERVICE):
    return f"crn:v1:bluemix:public:{service}:global:a/{'0' * 32}:{instance}:bucket:{name}"


def path(key, crn):
    return f"/keys/{key}/registrations/{quote(crn, safe='')}"


def register(key, crn, identity="service", method="POST", **more):
    """Has a registration created (POST), merged (PATCH) or replaced (PUT)."""
    return client(identity).raw(method, path(key, crn), collection(more, kind=INPUT))


def register_merge_replace_delete():
    manager, owner = client("manager"), str(uuid.uuid4())
    key = create(manager, unique("adopted"))["id"]
    one, two = bucket("one", owner), bucket("two", owner)
    asked = {"preventKeyDeletion": "false", "description": "a bucket"}
    made = resource(201, register(key, one, **asked))
    assert (made["keyId"], made["resourceCrn"], made["description"]) == (key, one, "a bucket")
    assert made["preventKeyDeletion"] is False and made["keyVersion"]["id"] == key and made["createdBy"]
    assert moment(made["creationDate"]) <= moment(made["lastUpdated"])
    assert resource(200, register(key, one, **asked))["resourceCrn"] == one
    refused(409, "REGISTRATION_DUP_ERR", register, key, one, preventKeyDeletion=True, description="a bucket")
    resource(201, register(key, two, preventKeyDeletion=True, registrationMetadata="for the service alone"))

    merged = resource(200, register(key, one, method="PATCH", description="another"))
    assert (merged["description"], merged["preventKeyDeletion"]) == ("another", False)
    replaced = resource(200, register(key, one, method="PUT", preventKeyDeletion=True, keyVersionId=key))
    assert replaced["preventKeyDeletion"] is True and replaced.get("description", "") == ""
    unknown = bucket("none", owner)
    for method in ("PATCH", "PUT"):
        refused(404, "REGISTRATION_NOT_FOUND_ERR", register, key, unknown, method=method, description="x")

    body = body_of(client("reader").get_registrations(**of(key), limit=1, offset=1, total_count=True))
    assert len(body["resources"]) == 1 and body["metadata"]["totalCount"] == 2
    listed = resources_of(200, client("reader").get_registrations(**of(key), prevent_key_deletion=True))
    assert {entry["resourceCrn"] for entry in listed} == {one, two}
    assert not any("registrationMetadata" in entry for entry in listed), "this is for services alone"
    query = f"crn:v1:bluemix:public:{SERVICE}:global:a/{'0' * 32}:{owner}:*:t*"
    found = resources_of(
        200, manager.get_registrations_all_keys(bluemix_instance=FIRST, url_encoded_resource_crn_query=query)
    )
    assert [entry["resourceCrn"] for entry in found] == [two]
    found = resources_of(
        200, manager.get_registrations(**of(key), url_encoded_resource_crn_query=query.replace("t*", "*"))
    )
    assert len(found) == 2
    refused(
        400,
        "INVALID_PARAM_ERR",
        manager.get_registrations_all_keys,
        bluemix_instance=FIRST,
        url_encoded_resource_crn_query="crn:v1:*",
    )

    refused(409, "PREV_KEY_DEL_ERR", manager.delete_key, **of(key), force=True)
    answered(204, client("service").raw("DELETE", path(key, two)))
    prefer = {"Prefer": "return=representation"}
    assert resource(200, client("service").raw("DELETE", path(key, one), headers=prefer))["resourceCrn"] == one
    refused(404, "REGISTRATION_NOT_FOUND_ERR", client("service").raw, "DELETE", path(key, one))
    assert resources_of(200, manager.get_registrations(**of(key))) == []
    answered(204, manager.delete_key(**of(key)))


def refused_registrations():
    manager, owner = client("manager"), str(uuid.uuid4())
    key = create(manager, unique("adopted"))["id"]
    one = bucket("one", owner)
    refused(403, "SERVICE_ONLY_ERR", register, key, one, identity="manager", description="x")
    refused(403, "RESOURCE_OWNER_ERR", register, key, bucket("one", owner, service="databases-for-x"), description="x")
    refused(400, "INVALID_PARAM_ERR", register, key, one + ":11:12", description="x")
    refused(400, "INVALID_PARAM_ERR", register, key, "no-crn", description="x")
    refused(404, "KEY_NOT_FOUND_ERR", register, str(uuid.uuid4()), one, description="x")
    standard = create(manager, unique("adopted"), extractable=True)["id"]
    refused(422, "KEY_ROOT_REQ_REG_ERR", register, standard, one, description="x")
    answered(204, manager.disable_key(**of(key)))
    refused(422, "KEY_INVALID_STATE_ERR", register, key, one, description="x")
    refused(401, None, client("nobody").get_registrations, **of(key))


def deletion_by_force_and_deactivation():
    manager, crn = client("manager"), bucket("gone", uuid.uuid4())
    key = create(manager, unique("adopted"))["id"]
    resource(201, register(key, crn, description="a bucket"))

    def deactivate(identity="service"):
        body = collection({"resourceCrn": crn}, kind="application/vnd.ibm.kms.crn+json")
        return client(identity).raw("POST", f"/keys/{key}/registrations", body, action="deactivate")

    refused(409, "REG_INVALID_STATE_ERR", deactivate)
    refused(409, "PROTECTED_RESOURCE_ERR", manager.delete_key, **of(key))
    refused(409, "PROTECTED_RESOURCE_ERR", manager.delete_key, **of(key), force=False)
    answered(204, manager.delete_key(**of(key), force=True))
    refused(403, "SERVICE_ONLY_ERR", deactivate, "manager")
    assert deactivate().get_status_code() in (200, 204)
    refused(409, "REG_INVALID_STATE_ERR", deactivate)


def acknowledge(event, identity="service", **more):
    entry = {"eventId": event, "adopterKeyState": "DEK_ENABLED", "timestamp": "2026-01-01T00:00:00Z", **more}
    body = collection(
        {name: value for name, value in entry.items() if value is not None},
        kind="application/vnd.ibm.kms.event_acknowledge+json",
    )
    return client(identity).raw("POST", "/event_ack", body)


def pending(crn):
    """What the operator sees of events that the owner of a resource has not acknowledged."""
    listed = body_of(client("manager").raw("GET", "/events", root="/keygate/v1", limit=5000))["resources"]
    return [event for event in listed if event["resourceCrn"] == crn]


def events():
    manager, crn = client("manager"), bucket("told", uuid.uuid4())
    key = create(manager, unique("adopted"))["id"]
    resource(201, register(key, crn, description="a bucket"))
    assert pending(crn) == []
    answered(204, manager.rotate_key(**of(key)))
    (event,) = pending(crn)
    assert (event["event"], event["keyId"]) == ("rotate", key) and event["keyVersionId"] != key, event
    refused(404, "EVENT_NOT_FOUND", acknowledge, str(uuid.uuid4()), keyStateData={"keyVersion": key})
    refused(400, "MISSING_FIELD_ERR", acknowledge, event["eventId"], timestamp=None)
    refused(403, "SERVICE_ONLY_ERR", acknowledge, event["eventId"], identity="manager")
    answered(204, acknowledge(event["eventId"], keyStateData={"rewrappedKeyVersion": event["keyVersionId"]}))
    assert pending(crn) == []
    moved = resource(200, manager.get_registrations(**of(key)))
    assert moved["keyVersion"]["id"] == event["keyVersionId"], moved
    refused(422, "KEY_VERSION_INVALID", register, key, crn, method="PUT", keyVersionId=key)
    refused(404, "EVENT_NOT_FOUND", acknowledge, event["eventId"])
    travel("1h")
    answered(204, manager.sync_associated_resources(**of(key)))
    assert [event["event"] for event in pending(crn)] == ["sync"]


def every_method_succeeded():
    assert not METHODS - SUCCEEDED, f"never succeeded: {sorted(METHODS - SUCCEEDED)}"


PARTS = (register_merge_replace_delete, refused_registrations, deletion_by_force_and_deactivation, events)
