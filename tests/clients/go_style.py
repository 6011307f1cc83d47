"""What `keyprotect-go-client` and the Terraform provider send, byte for byte in what matters, and what they take for
granted in the answers. No Go is needed: this is a plain HTTP client with that one's habits.

The gateway must be in dev mode and new.
"""

import json
import re
import uuid
from datetime import timedelta, timezone

import requests
from harness import FIRST, KEY_TYPE, POLICY_TYPE, READY, b64, moment, run, travel, unique

# The form that Go's `time.Time` decodes.
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
DATES = {
    "creationDate",
    "lastUpdateDate",
    "lastRotateDate",
    "expirationDate",
    "deletionDate",
    "purgeAllowedFrom",
    "purgeScheduledOn",
    "lastUpdated",
}
NOTHING = object()


class Refusal(Exception):
    """What the client makes of any other status than 200, 201 and 204."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status
        # The client reads reasons only of a body that has this word in it.
        assert "errorMsg" in body, body
        first = json.loads(body)["resources"][0]
        assert first["errorMsg"], body
        self.codes = [reason["code"] for reason in first.get("reasons") or []]


class Client:
    """Its `newRequest` and `do`."""

    def __init__(self, identity, ring=None):
        self.identity, self.ring = identity, ring
        self.log_in()

    def log_in(self):
        form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": READY["api_keys"][self.identity]}
        answer = requests.post(
            f"{READY['iam_url']}/oidc/token", data=form, headers={"accept": "application/json"}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        token = answer.json()
        assert 0 < token["expires_in"] < 2**31 and isinstance(token["expires_in"], int)
        assert isinstance(token["refresh_token"], str)
        # The scheme is what the token endpoint calls it.
        self.authorization = f"{token['token_type']} {token['access_token']}"

    def do(self, method, path, body=NOTHING, prefer=None, result=True, **query):
        correlation = str(uuid.uuid4())
        headers = {
            "user-agent": "Go-http-client/1.1",
            "accept": "application/json",
            "accept-encoding": "gzip",
            "bluemix-instance": FIRST,
            "authorization": self.authorization,
            "correlation-id": correlation,
            "connection": "close",
        }
        if prefer:
            headers["prefer"] = prefer
        if self.ring:
            headers["x-kms-key-ring"] = self.ring
        # There never is a content type: bytes have none.
        data = None if body is NOTHING else json.dumps(body).encode()
        answer = requests.request(
            method, f"{READY['url']}/api/v2/{path}", headers=headers, params=query, data=data, timeout=60
        )
        assert "content-type" not in answer.request.headers
        assert answer.headers["correlation-id"] == correlation
        if answer.status_code in (200, 201):
            if not result:
                # It decodes into nothing, which only nothing goes into.
                assert answer.content == b"", answer.content
                return None
            decoded = answer.json()
            dates(decoded)
            return decoded
        if answer.status_code == 204:
            assert answer.content == b"", answer.content
            return {}
        raise Refusal(answer.status_code, answer.text)

    def first(self, *arguments, **named):
        """`&response.Keys[0]`: it panics when there is none."""
        return self.do(*arguments, **named)["resources"][0]


def dates(value):
    """Every date must be one that Go reads."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in DATES:
                assert DATE.match(inner), f"{name}: {inner}"
            dates(inner)
    elif isinstance(value, list):
        for inner in value:
            dates(inner)


def refused(status, code, call, *arguments, **named):
    try:
        answer = call(*arguments, **named)
    except Refusal as refusal:
        assert refusal.status == status, f"{refusal} instead of {status}"
        assert code is None or code in refusal.codes, f"{refusal.codes} instead of {code}"
        return
    raise AssertionError(f"not refused with {status}: {answer}")


def keys(*resources):
    return {"metadata": {"collectionType": KEY_TYPE, "collectionTotal": len(resources)}, "resources": list(resources)}


def create(client, name, extractable=False, path="keys", **more):
    return client.first("POST", path, keys({"name": name, "type": KEY_TYPE, "extractable": extractable, **more}))


def policies(*resources):
    return {
        "metadata": {"collectionType": POLICY_TYPE, "collectionTotal": len(resources)},
        "resources": list(resources),
    }


def create_and_get():
    go, alias = Client("manager"), unique("go")
    key = create(go, "go-root", Tags=["one", "two"], aliases=[alias], description="by Go")
    assert key["id"] and key["state"] == 1 and key.get("extractable") is False and key["crn"]
    assert key["tags"] == ["one", "two"] and key["aliases"] == [alias]
    for path in (f"keys/{key['id']}", f"keys/{alias}", f"keys/{alias}/metadata"):
        found = go.first("GET", path)
        assert found["id"] == key["id"] and found["keyVersion"]["id"] == key["id"]
    standard = create(go, "go-standard", True, payload=b64(b"a secret"))
    assert go.first("GET", f"keys/{standard['id']}")["payload"] == b64(b"a secret")
    assert len(go.do("GET", "keys", limit=2000, offset=0)["resources"]) == 2
    versions = go.do("GET", f"keys/{alias}/versions", limit=1, offset=0, totalCount="true", allKeyStates="false")
    assert versions["metadata"]["totalCount"] == 1 and versions["resources"][0]["id"] == key["id"]
    refused(404, "KEY_NOT_FOUND_ERR", go.first, "GET", f"keys/{uuid.uuid4()}")


def actions_with_the_word_null_for_a_body():
    go = Client("manager")
    key = create(go, "go-actions")["id"]
    # `WrapCreateDEK` sends an empty object.
    made = go.do("POST", f"keys/{key}/actions/wrap", {})
    assert made["plaintext"] and made["ciphertext"] and made["keyVersion"]["id"] == key
    wrapped = go.do("POST", f"keys/{key}/actions/wrap", {"plaintext": b64(b"data key"), "aad": ["a"]})
    assert not wrapped.get("plaintext")
    body = {"ciphertext": wrapped["ciphertext"], "aad": ["a"]}
    unwrapped = go.do("POST", f"keys/{key}/actions/unwrap", body)
    assert unwrapped["plaintext"] == b64(b"data key") and not unwrapped.get("ciphertext")
    assert go.do("POST", f"keys/{key}/actions/rotate", None) == {}
    unwrapped = go.do("POST", f"keys/{key}/actions/unwrap", body)
    assert unwrapped["plaintext"] == b64(b"data key") and unwrapped["ciphertext"]
    rewrapped = go.do("POST", f"keys/{key}/actions/rewrap", body)
    assert rewrapped["rewrappedKeyVersion"]["id"] == go.do("GET", f"keys/{key}/versions")["resources"][0]["id"]
    assert go.do("POST", f"keys/{key}/actions/disable", None) == {}
    refused(409, "KEY_ACTION_INVALID_STATE_ERR", go.do, "POST", f"keys/{key}/actions/wrap", {})
    travel("31s")
    assert go.do("POST", f"keys/{key}/actions/enable", None) == {}
    for action in ("setKeyForDeletion", "unsetKeyForDeletion"):
        refused(409, "NOT_DUAL_AUTH_ERR", go.do, "POST", f"keys/{key}/actions/{action}", None)
    # `Rotate` leaves an empty payload out.
    travel("1h")
    go.log_in()
    assert go.do("POST", f"keys/{key}/actions/rotate", {}) == {}
    travel("1h")
    go.log_in()
    assert go.do("POST", f"keys/{key}/actions/sync") == {}


def delete_restore_purge():
    go, purger = Client("manager"), Client("purger")
    key = create(go, "go-delete")["id"]
    gone = go.first("DELETE", f"keys/{key}", prefer="return=representation", force="false")
    assert gone["deleted"] is True and gone["deletedBy"] and gone["purgeAllowed"] is False
    assert moment(gone["purgeScheduledOn"]) - moment(gone["purgeAllowedFrom"]) == timedelta(hours=2156)
    travel("31s")
    back = go.first("POST", f"keys/{key}/restore")
    assert back["id"] == key and back["state"] == 1
    assert go.do("DELETE", f"keys/{key}", prefer="return=minimal") == {}
    travel("4h")
    go.log_in()
    purger.log_in()
    assert purger.first("DELETE", f"keys/{key}/purge", prefer="return=representation")["id"] == key
    refused(404, "KEY_NOT_FOUND_ERR", go.first, "GET", f"keys/{key}/metadata")


def lists():
    go, mark = Client("manager"), unique("go-list")
    one, two = create(go, f"{mark}-1"), create(go, f"{mark}-2", True)
    zone = timezone(timedelta(hours=1))

    def nanos(instant):
        return instant.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S.") + "678901234+01:00"

    created = moment(one["creationDate"])
    before, after = nanos(created - timedelta(hours=1)), nanos(created + timedelta(hours=1))
    # A blank before every expression; a comma after every search.
    text = f' creationDate=gt:"{before}" creationDate=lt:"{after}" state=0,1,2,3 extractable=false'
    found = go.do("GET", "keys", filter=text, search=f"{mark},", sort="-creationDate,id", limit=5000, offset=0)
    assert [key["id"] for key in found["resources"]] == [one["id"]]
    found = go.do("GET", "keys", filter=" lastRotateDate=none", search=f"{mark},")
    assert {key["id"] for key in found["resources"]} == {one["id"], two["id"]}
    assert go.do("GET", "keys", filter=f' creationDate=gt:"{after}"')["resources"] == []
    assert go.do("GET", "keys", search=f"exact:name:{mark}-2,")["resources"][0]["id"] == two["id"]
    assert go.do("GET", "keys", state="5", extractable="true", search=f"{mark},")["resources"] == []


def key_policies():
    go = Client("manager")
    key = create(go, "go-policy")["id"]
    assert go.do("GET", f"keys/{key}/policies", policy="rotation")["resources"] == []
    # `SetPolicy` of old: months alone, a Prefer header, and the first policy of the answer.
    body = policies({"type": POLICY_TYPE, "rotation": {"interval_month": 3}})
    set_ = go.first("PUT", f"keys/{key}/policies", body, prefer="return=representation")
    assert set_["rotation"] == {"enabled": True, "interval_month": 3} and set_["crn"] and set_["createdBy"]
    assert go.first("GET", f"keys/{key}/policies")["rotation"]["interval_month"] == 3
    off = policies({"type": POLICY_TYPE, "rotation": {"enabled": False}})
    assert go.first("PUT", f"keys/{key}/policies", off, policy="rotation")["rotation"]["interval_month"] == 3
    refused(
        400,
        "INVALID_FIELD_ERR",
        go.first,
        "PUT",
        f"keys/{key}/policies",
        policies({"type": POLICY_TYPE, "rotation": {"interval_month": -1}}),
        policy="rotation",
    )
    both = policies(
        {"type": POLICY_TYPE, "rotation": {"enabled": True, "interval_month": 5}},
        {"type": POLICY_TYPE, "dualAuthDelete": {"enabled": True}},
    )
    assert len(go.do("PUT", f"keys/{key}/policies", both)["resources"]) == 2
    assert go.first("GET", f"keys/{key}/policies", policy="dualAuthDelete")["dualAuthDelete"]["enabled"] is True
    for action, is_set in (("setKeyForDeletion", True), ("unsetKeyForDeletion", False)):
        assert go.do("POST", f"keys/{key}/actions/{action}", None) == {}
        assert go.first("GET", f"keys/{key}/metadata")["dualAuthDelete"]["keySetForDeletion"] is is_set

    overrides = "keys_with_policy_overrides"
    assert create(go, "go-override", path=overrides, rotation={"interval_month": 3})["rotation"]["interval_month"] == 3
    refused(400, "INVALID_FIELD_ERR", create, go, "go-override", path=overrides, rotation={"interval_month": -1})
    refused(400, "KEY_ROOT_REQ_ERR", create, go, "go-override", True, path=overrides, rotation={"interval_month": 3})


def instance_policies():
    go = Client("manager")

    def put(*resources, **query):
        return go.do("PUT", "instance/policies", policies(*resources), **query)

    def get(kind):
        return go.do("GET", "instance/policies", policy=kind)["resources"]

    assert get("dualAuthDelete") == []
    for enabled in (True, False):
        # The attributes are there even to switch it off.
        put(
            {
                "policy_type": "allowedNetwork",
                "policy_data": {"enabled": enabled, "attributes": {"allowed_network": "public-and-private"}},
            },
            policy="allowedNetwork",
        )
        assert get("allowedNetwork")[0]["policy_data"]["enabled"] is enabled
    assert get("allowedNetwork")[0]["lastUpdated"] and get("allowedNetwork")[0]["creationDate"]
    put({"policy_type": "dualAuthDelete", "policy_data": {"enabled": False}}, policy="dualAuthDelete")
    refused(
        400,
        "BAD_BODY_ERR",
        put,
        {
            "policy_type": "dualAuthDelete",
            "policy_data": {"enabled": True, "attributes": {"allowed_network": "private-only"}},
        },
        policy="dualAuthDelete",
    )
    put(
        {
            "policy_type": "allowedIP",
            "policy_data": {"enabled": True, "attributes": {"allowed_ip": ["127.0.0.0/8", "::1/128"]}},
        },
        policy="allowedIP",
    )
    assert go.first("GET", "instance/allowed_ip_port")["private_endpoint_port"] > 0
    # `SetInstancePolicies`: several at once, and empty attributes of what is switched off.
    put(
        {"policy_type": "allowedIP", "policy_data": {"enabled": False, "attributes": {}}},
        {"policy_type": "metrics", "policy_data": {"enabled": True}},
        {"policy_type": "keyCreateImportAccess", "policy_data": {"enabled": False}},
    )
    assert go.do("GET", "instance/allowed_ip_port")["resources"] == []
    put(
        {"policy_type": "rotation", "policy_data": {"enabled": True, "attributes": {"interval_month": 2}}},
        policy="rotation",
    )
    assert create(go, "go-inherits")["rotation"] == {"enabled": True, "interval_month": 2}
    put({"policy_type": "rotation", "policy_data": {"enabled": False}}, policy="rotation")
    assert not create(go, "go-inherits-not").get("rotation")
    kinds = {policy["policy_type"] for policy in go.do("GET", "instance/policies")["resources"]}
    assert kinds >= {"allowedNetwork", "dualAuthDelete", "allowedIP", "metrics", "rotation"}, kinds


def rings_and_aliases():
    go, ring, alias = Client("manager"), unique("go-ring"), unique("go")
    go.do("POST", f"key_rings/{ring}", result=False)
    assert ring in [entry["id"] for entry in go.do("GET", "key_rings")["resources"]]
    key = create(go, "go-ring")["id"]
    # Its PATCH has no JSON name for the field, so that Go's own is sent.
    assert go.first("PATCH", f"keys/{key}", {"KeyRingID": ring})["keyRingID"] == ring
    inside = Client("manager", ring)
    assert inside.do("GET", "keys")["resources"][0]["id"] == key
    assert inside.do("POST", f"keys/{key}/actions/wrap", {})["ciphertext"]
    made = go.first("POST", f"keys/{key}/aliases/{alias}")
    assert (made["keyId"], made["alias"]) == (key, alias) and made["createdBy"] and made["creationDate"]
    assert go.do("DELETE", f"keys/{key}/aliases/{alias}") == {}
    refused(409, "KEY_RING_NOT_EMPTY_ERR", go.do, "DELETE", f"key_rings/{ring}")
    assert go.do("DELETE", f"keys/{key}", prefer="return=minimal") == {}
    assert go.do("DELETE", f"key_rings/{ring}", force="true") == {}
    # A client of some years ago put it into a body.
    go.do("POST", f"key_rings/{ring}", result=False)
    assert go.do("DELETE", f"key_rings/{ring}", {"Force": False}) == {}


def import_tokens_and_registrations():
    go = Client("manager")
    made = go.do("POST", "import_token", {"maxAllowedRetrievals": 1, "expiration": 600})
    assert (made["maxAllowedRetrievals"], made["remainingRetrievals"]) == (1, 1)
    got = go.do("GET", "import_token")
    assert got["payload"] and got["nonce"] and got["expirationDate"]
    refused(409, "IMPORT_TOKEN_EXPIRED_ERR", go.do, "GET", "import_token")
    # Zeros are left out.
    assert go.do("POST", "import_token", {})["maxAllowedRetrievals"] == 1
    key = create(go, "go-registrations")["id"]
    for path in (f"keys/{key}/registrations", "keys/registrations"):
        assert go.do("GET", path)["resources"] == []


def refusals():
    nobody = Client("nobody")
    refused(401, None, nobody.do, "GET", "keys")
    go = Client("manager")
    go.authorization = go.authorization.replace("Bearer", "bearer")
    assert go.do("GET", "keys", limit=1)["metadata"]["collectionTotal"] == 1
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": "no such key"}
    answer = requests.post(f"{READY['iam_url']}/oidc/token", data=form, timeout=60)
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert error["errorCode"] and error["errorMessage"] and isinstance(error["context"]["requestId"], str)


if __name__ == "__main__":
    run(
        create_and_get,
        actions_with_the_word_null_for_a_body,
        delete_restore_purge,
        lists,
        key_policies,
        instance_policies,
        rings_and_aliases,
        import_tokens_and_registrations,
        refusals,
    )
