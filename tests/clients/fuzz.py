"""Requests made up by schemathesis from the gateway's own description of its API, `/openapi.json`, with all its checks:
no answer is a 5xx, and none has a status, a type or a shape that the document does not name.

The same document makes the same requests, whenever it is run. The gateway must be in dev mode and new.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import requests
from harness import (
    FIRST,
    READY,
    SECOND,
    action,
    answered,
    b64,
    body_of,
    client,
    collection,
    create,
    resource,
    travel,
    unique,
)
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator

# Requests of each kind that are made up for an operation. The examples and limits of the document come on top.
EXAMPLES = os.environ.get("KEYGATE_FUZZ_EXAMPLES", "15")

# A new key pair takes a while when none is ready, and these runs ask for more than any user.
PATIENCE = os.environ.get("KEYGATE_FUZZ_PATIENCE", "110")

# What a request that is as the document says may be answered. What refuses it may be the key: a deleted one is gone (410),
# and a ciphertext is another one's (422). For some reasons 400 will do, too: `fuzz_hooks.py`.
ACCEPTED = ["2xx", "401", "403", "404", "409", "410", "422"]

# What one that is not may be answered.
REJECTED = ["400", "401", "403", "404", "405", "406", "409", "410", "413", "415", "422"]

# Writing instance policies is a run on an instance of its own: it may shut out everybody, the fuzzer too.
INSTANCE_POLICIES = "/api/v2/instance/policies"
# Users may not; services may.
REGISTRATION = "/api/v2/keys/{id}/registrations/{crn}"
BY_SERVICES = [f"{method} {REGISTRATION}" for method in ("POST", "PATCH", "PUT", "DELETE")]
BY_SERVICES += ["POST /api/v2/keys/{id}/registrations", "POST /api/v2/event_ack"]
# A role of its own.
PURGE = "DELETE /api/v2/keys/{id}/purge"


def fill(instance):
    """Keys of every kind and state, so that more is reached than 404. Many, for they are deleted on the way."""
    manager = client("manager")
    of = {"bluemix_instance": instance}
    ring, alias = unique("fuzz"), unique("fuzz")
    answered(201, manager.create_key_ring(key_ring_id=ring, **of))
    root = create(manager, "fuzz root", instance=instance, aliases=[alias])["id"]
    text = action(manager.wrap_key, root, {"plaintext": b64(b"fuzz")}, instance=instance)["ciphertext"]
    made = [
        create(manager, "fuzz", instance=instance, extractable=n % 3 == 1, ring=ring if n % 6 == 0 else None)["id"]
        for n in range(24)
    ]
    imported = create(manager, "fuzz imported", instance=instance, payload=b64(os.urandom(32)))["id"]
    answered(204, manager.disable_key(id=made[0], **of))
    answered(204, manager.delete_key(id=made[1], **of))
    return {
        "keys": [root, alias, imported, *made],
        "aliases": [alias, unique("fuzz")],
        "rings": [ring, "default", unique("fuzz")],
        "default": ["default"],
        "texts": [text],
        # Without an account: what is put into a path must not have a slash in it.
        "resources": [
            f"crn:v1:bluemix:public:cloud-object-storage:global::{uuid.uuid4()}:bucket:{n}" for n in range(3)
        ],
    }


def register(known):
    """What services find: some resources are registered already, and not all of what they were told acknowledged."""
    manager, service = client("manager"), client("service")
    roots = [known["keys"][0], *known["keys"][5::3]]
    for key in roots:
        for crn in known["resources"][:2]:
            body = collection({"description": "fuzz"}, kind="application/vnd.ibm.kms.registration_input+json")
            path = f"/keys/{key}/registrations/{requests.utils.quote(crn, safe='')}"
            resource(201, service.raw("POST", path, body))
        answered(204, manager.rotate_key(id=key, bluemix_instance=FIRST))
    events = body_of(manager.raw("GET", "/events", root="/keygate/v1"))["resources"]
    known["keys"] = [*roots, *known["keys"][2:5]]
    known["events"] = [event["eventId"] for event in events]


def delete(known):
    """What a purge finds: keys that were deleted long enough ago."""
    manager = client("manager")
    for key in known["keys"][2:18]:
        if manager.get_key_metadata(id=key, bluemix_instance=FIRST).get_result().json()["resources"][0]["state"] != 5:
            answered(204, manager.delete_key(id=key, bluemix_instance=FIRST))
    travel("4h")


def configuration(instance, known):
    """What the document cannot say: which instance, and what is there."""

    def binding(dictionary, probability):
        return f'{{ dictionary = "{dictionary}", probability = {probability} }}'

    lines = [
        f"hooks = {json.dumps(str(Path(__file__).with_name('fuzz_hooks.py')))}",
        "[parameters]",
        f'"header.Bluemix-Instance" = "{instance}"',
        f'"header.X-Kms-Key-Ring" = {binding("default", 0.9)}',
        f'"path.id" = {binding("keys", 0.8)}',
        f'"path.alias" = {binding("aliases", 0.5)}',
        f'"path.crn" = {binding("resources", 0.8)}',
        f'"body.ciphertext" = {binding("texts", 0.5)}',
        "[[operations]]",
        'include-path = "/api/v2/key_rings/{id}"',
        f'parameters = {{ "path.id" = {binding("rings", 0.6)} }}',
        # Each one that is taken costs an RSA key pair, which is seconds.
        "[[operations]]",
        'include-name = "POST /api/v2/import_token"',
        "generation = { max-examples = 5 }",
        "phases = { coverage = { enabled = false } }",
        "[checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps(ACCEPTED)}",
        "[checks.negative_data_rejection]",
        f"expected-statuses = {json.dumps(REJECTED)}",
        # The access token alone is kept back; the rest is needed to see what went wrong.
        "[output.sanitization]",
        'keys-to-sanitize = ["authorization"]',
        'sensitive-markers = ["authorization"]',
    ]
    if "events" in known:
        lines.insert(2, f'"body.resources[*].eventId" = {binding("events", 0.7)}')
        lines.insert(2, f'"body.resources[*].resourceCrn" = {binding("resources", 0.8)}')
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    return "\n".join(lines) + "\n"


def fuzz(name, identity, instance, *selection, prepare=None):
    """One run; prints how it went, and ends everything when it did not go well."""
    known = fill(instance)
    if prepare:
        prepare(known)
    token = IAMAuthenticator(READY["api_keys"][identity], url=READY["iam_url"]).token_manager.get_token()
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "schemathesis.toml")
        config.write_text(configuration(instance, known))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color"),
            *("run", f"{READY['url']}/openapi.json", "--url", READY["url"]),
            *("--header", f"Authorization: Bearer {token}", "--checks", "all", "--mode", "all"),
            *("--max-examples", EXAMPLES, "--generation-deterministic", "--workers", "1", "--continue-on-failure"),
            *("--request-timeout", PATIENCE, "--max-response-time", PATIENCE, *selection),
        ]
        sys.stdout.flush()
        ended = subprocess.run(command, cwd=directory, check=False)
    assert ended.returncode == 0, f"{name}: schemathesis ended with {ended.returncode}"
    print(f"{name}: ok")


def each(option, names):
    return [word for name in names for word in (option, name)]


if __name__ == "__main__":
    others = [f"PUT {INSTANCE_POLICIES}", PURGE, *BY_SERVICES]
    fuzz("users", "manager", FIRST, *each("--exclude-name", others))
    fuzz("services", "service", FIRST, *each("--include-name", BY_SERVICES), prepare=register)
    fuzz("purge", "purger", FIRST, "--include-name", PURGE, prepare=delete)
    fuzz("instance policies", "manager", SECOND, "--include-path", INSTANCE_POLICIES)
