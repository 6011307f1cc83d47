"""What the client tests share: the gateway under test, who calls it, its clock, and what a refusal looks like.

Reads what `keygate serve --dev --json` printed from the environment variable KEYGATE_READY. Everything here fails by an
exception.
"""

import base64
import functools
import inspect
import json
import os
import sys
import uuid
from datetime import datetime, timedelta, timezone

import requests
from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from keyprotect.ibm_key_protect_api_v2 import IbmKeyProtectApiV2

READY = json.loads(os.environ["KEYGATE_READY"])
FIRST, SECOND = READY["instances"]
KEY_TYPE = "application/vnd.ibm.kms.key+json"
POLICY_TYPE = "application/vnd.ibm.kms.policy+json"

# Every method of the SDK that calls the API; KMIP is another matter.
METHODS = {
    name
    for name, _ in inspect.getmembers(IbmKeyProtectApiV2, inspect.isfunction)
    if name in vars(IbmKeyProtectApiV2) and not name.startswith("_") and "kmip" not in name
}

# Those that succeeded at least once.
SUCCEEDED = set()

# Counts the journeys in time: a client made before the last one has an access token of that time.
journeys = 0


class Client:
    """The SDK's client, unchanged but for its URL. It logs in again after a journey in time."""

    def __init__(self, identity, url):
        self._identity = identity
        self._url = url
        self._journeys = None
        self._service = None

    def service(self):
        if self._journeys != journeys:
            authenticator = IAMAuthenticator(READY["api_keys"][self._identity], url=READY["iam_url"])
            self._service = IbmKeyProtectApiV2(authenticator=authenticator)
            self._service.set_service_url(self._url)
            self._journeys = journeys
        return self._service

    def __getattr__(self, name):
        method = getattr(self.service(), name)
        if name not in METHODS:
            return method

        @functools.wraps(method)
        def call(*arguments, **named):
            # Not `method`: between a look-up and a call there may be a journey.
            answer = getattr(self.service(), name)(*arguments, **named)
            SUCCEEDED.add(name)
            return answer

        return call

    def raw(self, method, path, body=None, instance=FIRST, headers=None, root="/api/v2", **params):
        """Sends what the SDK has no method for, by the SDK's own means."""
        headers = {"Bluemix-Instance": instance, "content-type": "application/json", **(headers or {})}
        data = None if body is None else json.dumps(body)
        service = self.service()
        return service.send(service.prepare_request(method, root + path, headers=headers, params=params, data=data))


@functools.cache
def client(identity, url=READY["url"]):
    return Client(identity, url)


def travel(span):
    """Moves the gateway's clock, `travel("4h")`, and returns what it says then. What came due by then is done."""
    global journeys
    response = requests.post(f"{READY['url']}/dev/clock", json={"advance": span}, timeout=60)
    assert response.ok, f"{response.status_code} {response.text}"
    journeys += 1
    return moment(response.json()["now"])


def b64(data):
    return base64.b64encode(data).decode()


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def moment(text):
    """A date of an answer: whole seconds of UTC."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def dated(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def near(instant, other, seconds=30):
    return abs(instant - other) <= timedelta(seconds=seconds)


def body_of(response):
    """The SDK leaves an answer of the vendor's type undecoded; its own tests read it like this."""
    result = response.get_result()
    return result if isinstance(result, dict) else result.json()


def answered(status, response):
    """The decoded body of an answer that has this status; nothing of one without a body."""
    assert response.get_status_code() == status, f"{response.get_status_code()} instead of {status}: {response}"
    return None if response.get_result() is None else body_of(response)


def resource(status, response):
    """The only resource of an answer."""
    resources = resources_of(status, response)
    assert len(resources) == 1, resources
    return resources[0]


def resources_of(status, response):
    body = answered(status, response)
    assert body["metadata"]["collectionTotal"] == len(body["resources"]), body
    assert body["metadata"]["collectionType"].startswith("application/vnd.ibm.kms."), body
    return body["resources"]


def refused(status, code, call, *arguments, **named):
    """Insists on a refusal; `code` None is for those that give no reason. Returns the reasons."""
    try:
        answer = call(*arguments, **named)
    except ApiException as error:
        assert (
            error.status_code == status
        ), f"{error.status_code} instead of {status}: {error}\n{error.http_response.text}"
        if error.http_response.request.method == "HEAD":
            return []
        body = error.http_response.json()
        assert body["metadata"]["collectionType"] == "application/vnd.ibm.kms.error+json", body
        reasons = body["resources"][0].get("reasons", [])
        if code:
            assert reasons and reasons[0]["code"] == code, f"{reasons} instead of {code}"
            assert reasons[0]["status"] == status, reasons
        return reasons
    raise AssertionError(f"{getattr(call, '__name__', call)} was not refused with {status}: {answer}")


def collection(*resources, kind=KEY_TYPE):
    return {"metadata": {"collectionType": kind, "collectionTotal": len(resources)}, "resources": list(resources)}


def new_key(name, extractable=False, **more):
    """The body that makes a key."""
    return json.dumps(collection({"type": KEY_TYPE, "name": name, "extractable": extractable, **more}))


def create(service, name, extractable=False, instance=FIRST, ring=None, prefer="return=representation", **more):
    body = new_key(name, extractable, **more)
    response = service.create_key(bluemix_instance=instance, key_create_body=body, prefer=prefer, x_kms_key_ring=ring)
    return resource(201, response)


def action(method, key, body, instance=FIRST, **more):
    """Runs wrap, unwrap or rewrap; returns the decoded answer."""
    name = method.__name__.removesuffix("_key")
    arguments = {"id": key, "bluemix_instance": instance, f"key_action_{name}_body": json.dumps(body), **more}
    return answered(200, method(**arguments))


def metadata(service, key, instance=FIRST):
    return resource(200, service.get_key_metadata(id=key, bluemix_instance=instance))


def run(*parts):
    """Runs the parts in their order. The last line of each says that it went well, which the test counts."""
    for part in parts:
        print(f"{part.__name__}: ", end="")
        sys.stdout.flush()
        part()
        print("ok")
        sys.stdout.flush()
