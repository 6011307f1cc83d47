"""Lists by the official SDK: pages, states, search, sort and filter; key rings and aliases."""

import json
import uuid
from datetime import timedelta

from harness import (
    FIRST,
    SECOND,
    action,
    answered,
    body_of,
    client,
    create,
    dated,
    metadata,
    moment,
    refused,
    resource,
    resources_of,
    travel,
    unique,
)


def of(key):
    return {"id": key, "bluemix_instance": FIRST}


def ids(service, instance=FIRST, **query):
    return [key["id"] for key in resources_of(200, service.get_keys(bluemix_instance=instance, **query))]


def total(service, instance=SECOND, **query):
    response = service.get_key_collection_metadata(bluemix_instance=instance, **query)
    assert response.get_status_code() == 200 and response.get_result() is None
    return int(response.get_headers()["Key-Total"])


def pages_states_and_kinds():
    manager = client("manager")
    assert resources_of(200, manager.get_keys(bluemix_instance=SECOND)) == []
    roots = [create(manager, f"page-{n}", instance=SECOND)["id"] for n in range(4)]
    standards = [create(manager, f"page-{n}", extractable=True, instance=SECOND)["id"] for n in range(2)]
    everything = sorted(roots + standards)
    assert ids(manager, SECOND) == everything
    assert ids(manager, SECOND, limit=2, offset=3) == everything[3:5]
    assert ids(manager, SECOND, limit=5000, offset=100) == []
    assert ids(manager, SECOND, extractable=True) == sorted(standards)
    assert total(manager) == 6 and total(manager, extractable=False) == 4
    answered(204, manager.disable_key(id=roots[0], bluemix_instance=SECOND))
    answered(204, manager.delete_key(id=roots[1], bluemix_instance=SECOND))
    assert ids(manager, SECOND, state=[2]) == [roots[0]] and ids(manager, SECOND, state=[5]) == [roots[1]]
    assert roots[1] not in ids(manager, SECOND) and len(ids(manager, SECOND, state=[0, 1, 2, 3, 5])) == 6
    assert total(manager) == 5 and total(manager, state=[5]) == 1 and total(manager, filter="state=2,5") == 2
    for wrong in ({"limit": 0}, {"limit": 5001}, {"offset": -1}, {"state": [4]}):
        refused(400, "INVALID_QUERY_PARAM_ERR", manager.get_keys, bluemix_instance=SECOND, **wrong)
    assert ids(manager, SECOND, x_kms_key_ring="default") == ids(manager, SECOND)


def search():
    manager, mark = client("manager"), uuid.uuid4().hex[:10]
    named = create(manager, f"Alpha {mark}")["id"]
    aliased = create(manager, "beta", aliases=[f"{mark}-gamma"])["id"]

    def find(query, **more):
        return sorted(ids(manager, search=query, limit=5000, **more))

    assert find(mark) == sorted([named, aliased])
    assert find(f"name:{mark}") == [named] and find(f"alias:{mark}") == [aliased]
    assert find(f"ALPHA {mark.upper()}") == [named]
    assert find(f"exact:alpha {mark}") == [named] and find("exact:alpha") == []
    rest = find(f"not:{mark}")
    assert named not in rest and aliased not in rest
    assert find("escape:not:nothing of that name") == []
    assert ids(manager, search=named)[0] == named and ids(manager, search=f"alias:{mark}-gamma")[0] == aliased
    about = body_of(manager.get_keys(bluemix_instance=FIRST, search=f"exact:not:name:{mark}"))["metadata"][
        "searchQuery"
    ]
    assert (about["query"], about["scopes"], about["exact"], about["not"]) == (mark, ["name"], True, True)
    refused(400, "INVALID_QUERY_PARAM_ERR", manager.get_keys, bluemix_instance=FIRST, search="x" * 257)


def sort():
    manager, mark = client("manager"), unique("sort")
    keys = []
    for n in range(3):
        keys.append(create(manager, f"{mark}-{n}", extractable=n == 1)["id"])
        travel("2s")

    def sorted_by(order):
        return ids(manager, search=mark, sort=order)

    assert sorted_by("creationDate") == keys and sorted_by("-creationDate") == keys[::-1]
    assert sorted_by("id") == sorted(keys) and sorted_by("-id") == sorted(keys, reverse=True)
    assert sorted_by("-extractable,creationDate") == [keys[1], keys[0], keys[2]]
    assert sorted_by("extractable,-creationDate") == [keys[2], keys[0], keys[1]]
    for wrong in ("name", "id,", "+id"):
        refused(400, "INVALID_QUERY_PARAM_ERR", manager.get_keys, bluemix_instance=FIRST, sort=wrong)


def filters():
    manager, mark = client("manager"), unique("filter")
    first = create(manager, f"{mark}-1")
    travel("10m")
    second = create(manager, f"{mark}-2", extractable=True)
    between = dated(moment(first["creationDate"]) + timedelta(minutes=5))

    def found(text):
        return ids(manager, search=mark, filter=text)

    assert found(f'creationDate=lt:"{between}"') == [first["id"]]
    assert found(f'creationDate=gte:"{between}"') == [second["id"]]
    assert found(f'creationDate="{first["creationDate"]}"') == [first["id"]]
    window = f'creationDate=gt:"{between}" creationDate=lt:"{between}"'
    assert found(window) == []
    assert found("extractable=TRUE state=1") == [second["id"]] and found("state=2,3") == []
    answered(204, manager.rotate_key(**of(first["id"])))
    assert found("lastRotateDate=none") == [second["id"]] and found("lastRotateDate=NONE extractable=false") == []
    for wrong in ("name=x", "state=4", "creationDate=2026-01-01", "extractable=gt:true", " ".join(["state=1"] * 4)):
        refused(400, "INVALID_QUERY_PARAM_ERR", manager.get_keys, bluemix_instance=FIRST, filter=wrong)
    for old in ({"state": [1], "filter": "state=1"}, {"extractable": True, "filter": "extractable=true"}):
        refused(400, None, manager.get_keys, bluemix_instance=FIRST, **old)
        refused(400, None, manager.get_key_collection_metadata, bluemix_instance=FIRST, **old)


def key_rings():
    manager, ring, other = client("manager"), unique("ring"), unique("ring")
    instance = {"bluemix_instance": FIRST}
    answered(201, manager.create_key_ring(key_ring_id=ring, **instance))
    answered(204, manager.create_key_ring(key_ring_id=ring, **instance))
    answered(201, client("writer").create_key_ring(key_ring_id=other, **instance))
    refused(400, "INVALID_PATH_PARAM_ERR", manager.create_key_ring, key_ring_id="under_score", **instance)
    refused(401, None, client("reader").create_key_ring, key_ring_id=unique("ring"), **instance)
    listed = {entry["id"]: entry for entry in resources_of(200, client("reader").list_key_rings(**instance))}
    assert listed["default"] == {"id": "default"} and {ring, other} <= listed.keys()
    assert listed[ring]["createdBy"] and moment(listed[ring]["creationDate"])
    page = answered(200, manager.list_key_rings(**instance, limit=1, offset=1, total_count=True))
    assert len(page["resources"]) == 1 and page["metadata"]["totalCount"] == len(listed)

    key = create(manager, "in a ring", ring=ring)
    assert key["keyRingID"] == ring and ids(manager, x_kms_key_ring=ring) == [key["id"]]
    refused(404, "KEY_NOT_FOUND_ERR", manager.wrap_key, **of(key["id"]), x_kms_key_ring="default")
    assert action(manager.wrap_key, key["id"], {}, x_kms_key_ring=ring)
    refused(409, "KEY_RING_NOT_EMPTY_ERR", manager.delete_key_ring, key_ring_id=ring, **instance)
    refused(409, "KEY_RING_KEYS_NOT_DELETED_ERR", manager.delete_key_ring, key_ring_id=ring, **instance, force=True)

    move = json.dumps({"keyRingID": other})
    moved = resource(200, manager.patch_key(**of(key["id"]), key_patch_body=move, x_kms_key_ring=ring))
    assert moved["keyRingID"] == other
    refused(401, None, client("writer").patch_key, **of(key["id"]), key_patch_body=move)
    refused(404, "KEY_NOT_FOUND_ERR", manager.patch_key, **of(key["id"]), key_patch_body=move, x_kms_key_ring=ring)
    nowhere = json.dumps({"keyRingID": unique("ring")})
    refused(404, "KEY_RING_NOT_FOUND_ERR", manager.patch_key, **of(key["id"]), key_patch_body=nowhere)
    answered(204, manager.delete_key_ring(key_ring_id=ring, **instance, force=False))
    answered(204, manager.delete_key(**of(key["id"]), x_kms_key_ring=other))
    refused(409, "KEY_RING_NOT_EMPTY_ERR", manager.delete_key_ring, key_ring_id=other, **instance)
    answered(204, manager.delete_key_ring(key_ring_id=other, **instance, force=True))
    assert metadata(manager, key["id"])["keyRingID"] == "default"


def aliases():
    manager, alias = client("manager"), unique("alias")
    key, other = create(manager, "aliased")["id"], create(manager, "aliased")["id"]
    made = resource(201, manager.create_key_alias(id=key, alias=alias, bluemix_instance=FIRST))
    assert (made["keyId"], made["alias"]) == (key, alias) and made["createdBy"] and moment(made["creationDate"])
    assert resource(200, manager.create_key_alias(id=key, alias=alias, bluemix_instance=FIRST))["keyId"] == key
    refused(409, "KEY_ALIAS_NOT_UNIQUE_ERR", manager.create_key_alias, id=other, alias=alias, bluemix_instance=FIRST)
    for wrong in ("a", "a.b", "keys", "registrations", str(uuid.uuid4())):
        refused(400, "INVALID_PATH_PARAM_ERR", manager.create_key_alias, id=key, alias=wrong, bluemix_instance=FIRST)
    refused(401, None, client("reader").create_key_alias, id=key, alias=unique("alias"), bluemix_instance=FIRST)
    for _ in range(4):
        answered(201, manager.create_key_alias(id=alias, alias=unique("alias"), bluemix_instance=FIRST))
    refused(409, "KEY_ALIAS_QUOTA_ERR", manager.create_key_alias, id=key, alias=unique("alias"), bluemix_instance=FIRST)
    assert len(metadata(manager, alias)["aliases"]) == 5
    answered(204, manager.delete_key_alias(id=key, alias=alias, bluemix_instance=FIRST))
    refused(404, "ALIAS_NOT_FOUND_ERR", manager.delete_key_alias, id=key, alias=alias, bluemix_instance=FIRST)
    refused(404, "KEY_NOT_FOUND_ERR", manager.get_key_metadata, id=alias, bluemix_instance=FIRST)
    answered(201, manager.create_key_alias(id=other, alias=alias, bluemix_instance=FIRST))


PARTS = (pages_states_and_kinds, search, sort, filters, key_rings, aliases)
