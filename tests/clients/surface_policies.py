"""Policies by the official SDK: of keys and of instances, dual authorization, and import tokens."""

import os
from datetime import timedelta

from harness import (
    FIRST,
    POLICY_TYPE,
    READY,
    SECOND,
    answered,
    b64,
    body_of,
    client,
    collection,
    create,
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


def of(key):
    return {"id": key, "bluemix_instance": FIRST}


def key_policies(*policies):
    return collection(*({"type": POLICY_TYPE, **policy} for policy in policies), kind=POLICY_TYPE)


def put_policy(service, key, *policies, **more):
    return service.put_policy(**of(key), key_policy_put_body=key_policies(*policies), **more)


def instance_policy(kind, enabled, attributes=None):
    data = {"enabled": enabled} if attributes is None else {"enabled": enabled, "attributes": attributes}
    return {"policy_type": kind, "policy_data": data}


def put_instance(service, *policies, instance=FIRST, **more):
    body = collection(*policies, kind=POLICY_TYPE)
    return service.put_instance_policy(bluemix_instance=instance, instance_policy_put_body=body, **more)


def switch(kind, enabled, attributes=None, instance=FIRST):
    """Writes one instance policy and reads it back."""
    manager = client("manager")
    answered(204, put_instance(manager, instance_policy(kind, enabled, attributes), instance=instance, policy=kind))
    policy = resource(200, manager.get_instance_policy(bluemix_instance=instance, policy=kind))
    assert (policy["policy_type"], policy["policy_data"]["enabled"]) == (kind, enabled), policy
    assert (
        policy["createdBy"] and policy["updatedBy"] and moment(policy["creationDate"]) <= moment(policy["lastUpdated"])
    )
    return policy["policy_data"].get("attributes")


def policies_of_a_key():
    manager = client("manager")
    key = create(manager, unique("policy"))["id"]
    assert resources_of(200, manager.get_policy(**of(key))) == []
    policy = resource(
        200, put_policy(manager, key, {"rotation": {"enabled": True, "interval_month": 3}}, policy="rotation")
    )
    assert policy["rotation"] == {"enabled": True, "interval_month": 3} and ":policy:" in policy["crn"]
    assert (
        policy["createdBy"]
        and policy["updatedBy"]
        and moment(policy["creationDate"]) <= moment(policy["lastUpdateDate"])
    )
    assert resource(200, manager.get_policy(**of(key), policy="rotation"))["rotation"]["interval_month"] == 3
    assert metadata(manager, key)["rotation"] == {"enabled": True, "interval_month": 3}
    # Off and on again: the interval is remembered.
    for enabled in (False, True):
        policy = resource(200, put_policy(manager, key, {"rotation": {"enabled": enabled}}, policy="rotation"))
        assert policy["rotation"] == {"enabled": enabled, "interval_month": 3}, policy
    # As the SDK's own suite does it: off where it never was on.
    assert resource(200, put_policy(manager, key, {"dualAuthDelete": {"enabled": False}}, policy="dualAuthDelete"))
    both = resources_of(
        200,
        put_policy(
            manager, key, {"rotation": {"enabled": True, "interval_month": 12}}, {"dualAuthDelete": {"enabled": False}}
        ),
    )
    assert len(both) == 2 and {kind for policy in both for kind in policy} >= {"rotation", "dualAuthDelete"}, both

    for months in (0, 13, -1):
        refused(
            400,
            "INVALID_FIELD_ERR",
            put_policy,
            manager,
            key,
            {"rotation": {"enabled": True, "interval_month": months}},
        )
    refused(
        400,
        "BODY_QUERY_PARAM_MISMATCH_ERR",
        put_policy,
        manager,
        key,
        {"dualAuthDelete": {"enabled": False}},
        policy="rotation",
    )
    for method in (client("writer").get_policy, client("reader").get_policy):
        refused(401, None, method, **of(key))
    refused(401, None, put_policy, client("writer"), key, {"rotation": {"enabled": True, "interval_month": 1}})
    standard = create(manager, unique("policy"), extractable=True)["id"]
    refused(
        422,
        "KEY_INVALID_STATE_ERR",
        put_policy,
        manager,
        standard,
        {"rotation": {"enabled": True, "interval_month": 1}},
    )
    answered(204, manager.disable_key(**of(key)))
    refused(
        422, "KEY_INVALID_STATE_ERR", put_policy, manager, key, {"rotation": {"enabled": True, "interval_month": 1}}
    )


def rotation_by_policy():
    manager = client("manager")
    key = create(manager, unique("due"))["id"]
    resource(200, put_policy(manager, key, {"rotation": {"enabled": True, "interval_month": 1}}))
    travel(f"{30 * 24}h")
    assert len(resources_of(200, manager.get_key_versions(**of(key)))) == 2
    about = metadata(manager, key)
    assert about["keyVersion"]["id"] != key and about["lastRotateDate"]


def overrides():
    manager = client("manager")
    switch("rotation", True, {"interval_month": 6})
    try:

        def with_overrides(extractable=False, **policies):
            body = new_key(unique("override"), extractable, **policies)
            return manager.create_key_with_policies_overrides(
                bluemix_instance=FIRST, key_with_policy_overrides_create_body=body, prefer="return=representation"
            )

        inherited = create(manager, unique("override"))
        assert inherited["rotation"] == {"enabled": True, "interval_month": 6}
        own = resource(
            201, with_overrides(rotation={"enabled": True, "interval_month": 2}, dualAuthDelete={"enabled": True})
        )
        assert own["rotation"] == {"enabled": True, "interval_month": 2} and own["dualAuthDelete"]["enabled"] is True
        assert resource(201, with_overrides(rotation={"interval_month": 3}))["rotation"]["interval_month"] == 3
        assert "rotation" not in resource(201, with_overrides())
        assert "rotation" not in create(manager, unique("override"), extractable=True)
        refused(
            400, "KEY_ROOT_REQ_ERR", with_overrides, extractable=True, rotation={"enabled": True, "interval_month": 2}
        )
        refused(400, "INVALID_FIELD_ERR", with_overrides, rotation={"enabled": True, "interval_month": -1})
        refused(
            401,
            None,
            client("reader").create_key_with_policies_overrides,
            bluemix_instance=FIRST,
            key_with_policy_overrides_create_body=new_key("override"),
        )
    finally:
        switch("rotation", False)
    assert "rotation" not in create(manager, unique("override"))


def policies_of_an_instance():
    manager = client("manager")
    fresh = answered(200, manager.get_instance_policy(bluemix_instance=SECOND))
    assert fresh["resources"] == [] and fresh["metadata"]["collectionTotal"] == 0
    assert switch("allowedNetwork", True, {"allowed_network": "public-and-private"}) == {
        "allowed_network": "public-and-private"
    }
    switch("allowedNetwork", False, {"allowed_network": "public-and-private"})
    switch("metrics", True)
    switch("metrics", False)
    answered(204, put_instance(manager, instance_policy("metrics", True), instance_policy("dualAuthDelete", False)))
    kinds = [policy["policy_type"] for policy in resources_of(200, manager.get_instance_policy(bluemix_instance=FIRST))]
    assert {"metrics", "dualAuthDelete", "allowedNetwork"} <= set(kinds) and len(kinds) == len(set(kinds))
    # The other style of body that the documents show.
    style = collection({"type": POLICY_TYPE, "dualAuthDelete": {"enabled": False}}, kind=POLICY_TYPE)
    answered(204, manager.put_instance_policy(bluemix_instance=FIRST, instance_policy_put_body=style))

    def refuse(code, *policies, **more):
        refused(400, code, put_instance, manager, *policies, **more)

    refuse("BAD_BODY_ERR", instance_policy("dualAuthDelete", True, {"allowed_network": "private-only"}))
    refuse(None, instance_policy("allowedNetwork", True, {"allowed_network": "moon"}))
    refuse(None, instance_policy("allowedIP", True, {"allowed_ip": []}))
    refuse(None, instance_policy("rotation", True))
    refuse("BODY_QUERY_PARAM_MISMATCH_ERR", instance_policy("metrics", True), policy="dualAuthDelete")
    refuse(
        "NUM_COLLECTION_RESOURCE_ERR",
        instance_policy("metrics", True),
        instance_policy("dualAuthDelete", False),
        policy="metrics",
    )
    body = {**collection(instance_policy("metrics", True), kind=POLICY_TYPE)}
    body["metadata"] = {**body["metadata"], "collectionTotal": 2}
    refused(
        400,
        "COLLECTION_TOTAL_MISMATCH_ERR",
        manager.put_instance_policy,
        bluemix_instance=FIRST,
        instance_policy_put_body=body,
    )
    refused(401, None, put_instance, client("writer"), instance_policy("metrics", True))
    refused(401, None, client("reader").get_instance_policy, bluemix_instance=FIRST)


def create_and_import_access():
    manager = client("manager")
    allowed = {
        "create_root_key": True,
        "create_standard_key": False,
        "import_root_key": True,
        "import_standard_key": False,
        "enforce_token": True,
    }
    assert switch("keyCreateImportAccess", True, allowed) == allowed
    try:

        def refuse(**more):
            refused(409, "KEY_CREATE_IMPORT_ACCESS_ERR", manager.create_key, bluemix_instance=FIRST, **more)

        assert create(manager, unique("access"))["id"]
        refuse(key_create_body=new_key("access", True))
        refuse(key_create_body=new_key("access", True, payload=b64(b"imported")))
        refuse(key_create_body=new_key("access", payload=b64(os.urandom(32))))
        # Left out means the default, not what it was before.
        assert switch("keyCreateImportAccess", True, {"create_root_key": False})["enforce_token"] is False
        refuse(key_create_body=new_key("access"))
        assert create(manager, unique("access"), extractable=True)["id"]
    finally:
        switch("keyCreateImportAccess", False)
    assert create(manager, unique("access"))["id"]


def dual_authorization():
    manager, second, writer = client("manager"), client("manager2"), client("writer")
    old = create(manager, unique("dual"))["id"]
    switch("dualAuthDelete", True)
    try:
        keys = [create(manager, unique("dual"), extractable=n == 2) for n in range(3)]
        assert all(key["dualAuthDelete"]["enabled"] is True for key in keys)
        first, lapsing, standard = (key["id"] for key in keys)
    finally:
        switch("dualAuthDelete", False)
    assert metadata(manager, old)["dualAuthDelete"] == {"enabled": False}
    assert metadata(manager, first)["dualAuthDelete"] == {"enabled": True, "keySetForDeletion": False}
    refused(409, "NOT_DUAL_AUTH_ERR", manager.set_key_for_deletion, **of(old))
    refused(409, "NOT_DUAL_AUTH_ERR", manager.unset_key_for_deletion, **of(old))

    refused(409, "AUTHORIZATIONS_NOT_MET", manager.delete_key, **of(first))
    refused(401, None, client("reader").set_key_for_deletion, **of(first))
    answered(204, manager.set_key_for_deletion(**of(first)))
    about = metadata(manager, first)
    assert about["state"] == 1 and about["dualAuthDelete"]["keySetForDeletion"] is True
    expires = moment(about["dualAuthDelete"]["authExpiration"])
    assert near(expires, moment(about["lastUpdateDate"]) + timedelta(days=7), 3600)
    # The other user must be another one, and one that may delete.
    refused(409, "AUTHORIZATIONS_NOT_MET", manager.delete_key, **of(first))
    refused(401, None, writer.delete_key, **of(first))
    answered(204, manager.unset_key_for_deletion(**of(first)))
    assert "authExpiration" not in metadata(manager, first)["dualAuthDelete"]
    refused(409, "AUTHORIZATIONS_NOT_MET", second.delete_key, **of(first))
    answered(204, writer.set_key_for_deletion(**of(first)))
    assert resource(200, second.delete_key(**of(first), prefer="return=representation"))["state"] == 5

    answered(204, manager.set_key_for_deletion(**of(lapsing)))
    answered(204, writer.set_key_for_deletion(**of(standard)))
    answered(204, second.delete_key(**of(standard)))
    travel("169h")
    refused(409, "AUTHORIZATIONS_NOT_MET", second.delete_key, **of(lapsing))
    assert metadata(manager, lapsing)["dualAuthDelete"]["keySetForDeletion"] is False
    # Once on, it stays on.
    try:
        put_policy(manager, lapsing, {"dualAuthDelete": {"enabled": False}}, policy="dualAuthDelete")
    except Exception as error:
        assert 400 <= error.status_code < 500, error
    else:
        raise AssertionError("dual authorization could be switched off on a key that has it")
    assert metadata(manager, lapsing)["dualAuthDelete"]["enabled"] is True


def import_tokens():
    manager = client("manager")
    refused(404, "IMPORT_TOKEN_NOT_FOUND_ERR", manager.get_import_token, bluemix_instance=SECOND)
    made = answered(200, manager.post_import_token(bluemix_instance=FIRST, expiration=600, max_allowed_retrievals=2))
    assert (made["maxAllowedRetrievals"], made["remainingRetrievals"]) == (2, 2)
    assert moment(made["expirationDate"]) - moment(made["creationDate"]) == timedelta(seconds=600)
    assert "payload" not in made and "nonce" not in made
    got = body_of(client("writer").get_import_token(bluemix_instance=FIRST))
    assert got["remainingRetrievals"] == 1 and got["payload"] and got["nonce"]
    refused(401, None, client("reader").get_import_token, bluemix_instance=FIRST)
    refused(401, None, client("reader").post_import_token, bluemix_instance=FIRST)
    for wrong in (
        {"expiration": 299},
        {"expiration": 86401},
        {"max_allowed_retrievals": 0},
        {"max_allowed_retrievals": 501},
    ):
        refused(400, "INVALID_FIELD_ERR", manager.post_import_token, bluemix_instance=FIRST, **wrong)


def allowed_networks():
    manager, inside = client("manager"), client("manager", READY["private_url"])

    def allow(network):
        return instance_policy("allowedNetwork", True, {"allowed_network": network})

    assert resources_of(200, inside.get_keys(bluemix_instance=FIRST, limit=1))
    answered(204, put_instance(manager, allow("private-only"), instance=SECOND))
    refused(401, None, manager.get_keys, bluemix_instance=SECOND)
    refused(401, None, put_instance, manager, allow("public-and-private"), instance=SECOND)
    assert answered(200, inside.get_keys(bluemix_instance=SECOND, limit=1))
    answered(204, put_instance(inside, allow("public-and-private"), instance=SECOND))
    assert answered(200, manager.get_keys(bluemix_instance=SECOND, limit=1))


def allowed_addresses():
    """The last part: it locks everybody out of the second instance, for good."""
    manager = client("manager")
    assert resources_of(200, manager.get_allowed_ip_port(bluemix_instance=FIRST)) == []
    everybody = ["0.0.0.0/0", "::/0"]
    assert switch("allowedIP", True, {"allowed_ip": everybody})["allowed_ip"] == everybody
    (port,) = resources_of(200, manager.get_allowed_ip_port(bluemix_instance=FIRST))
    assert READY["private_url"].endswith(f":{port['private_endpoint_port']}"), port
    refused(401, None, client("reader").get_allowed_ip_port, bluemix_instance=FIRST)
    switch("allowedIP", False)
    assert resources_of(200, manager.get_allowed_ip_port(bluemix_instance=FIRST)) == []

    elsewhere = instance_policy("allowedIP", True, {"allowed_ip": ["203.0.113.0/24", "2001:db8::/32"]})
    answered(204, put_instance(manager, elsewhere, instance=SECOND))
    refused(401, None, manager.get_keys, bluemix_instance=SECOND)
    refused(401, None, put_instance, manager, instance_policy("allowedIP", False), instance=SECOND)
    assert resources_of(200, manager.get_keys(bluemix_instance=FIRST, limit=1))


PARTS = (
    policies_of_a_key,
    rotation_by_policy,
    overrides,
    policies_of_an_instance,
    create_and_import_access,
    dual_authorization,
    import_tokens,
    allowed_networks,
    allowed_addresses,
)
