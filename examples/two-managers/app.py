"""Two managers for every deletion of a key in certain rings.

Deleting a key there takes two people, whatever the key's own policy says (the obligation `require-dual-authorization`),
and both of them must be managers: a writer may give the first authorization elsewhere, but not here. And keys stay in
the ring: in another one, a single manager could delete them.

    [[plugins]]
    name = "two-managers"
    file = "target/plugins/examples/two-managers.wasm"
    sha256_file = "target/plugins/examples/two-managers.wasm.sha256"
    world = "policy-rule"
    grants = { log = true, wasi-minimal = true }
    limits = { deadline = "5s", memory = "128MiB" }
    settings = { rings = ["prod"] }

    [policy]
    chain = ["access", { rule = "two-managers", actions = ["kms.secrets.*"], rings = ["prod"] }]

An allow with an obligation is a yes like any other: keep a rule in the chain, such as `access`, that knows who may do
what. The gateway remembers who gave the first authorization, not with which role; one that was given before this rule
was in the chain, or before the key came into the ring, is good all the same.
"""

# Everything is imported here, while the component is being built. In the gateway there are no files to import from.
import json
from typing import List

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (
    Decision_Abstain,
    Decision_Allow,
    Decision_Deny,
    Denial,
    DenialKind,
    Description,
    Obligation,
    Request,
    SettingsError,
    Verdict,
)

DELETION = ["kms.secrets.delete", "kms.secrets.setkeyfordeletion", "kms.secrets.unsetkeyfordeletion"]
# Among other changes of a key, the one of its ring.
PATCH = "kms.secrets.patch"
ACTIONS = [*DELETION, PATCH]

# What `configure` read. A sandbox lives for one call, so this is never another call's.
rings: List[str] = []


class Rule(exports.Rule):
    def configure(self, settings: str) -> None:
        global rings
        given = json.loads(settings)
        for name in given:
            if name != "rings":
                raise refused(name, "there is no such setting; the only one is `rings`")
        rings = given.get("rings", ["prod"])
        if not isinstance(rings, list) or not rings or not all(isinstance(ring, str) for ring in rings):
            raise refused("rings", 'expected a list of the ids of key rings, such as ["prod"]')

    def describe(self) -> Description:
        # The host does not even ask about anything else.
        return Description(name="two-managers", version="0.1.0", actions=ACTIONS)

    def evaluate(self, request: Request) -> Verdict:
        if request.action not in ACTIONS or request.target.key_ring not in rings:
            return Verdict(Decision_Abstain(), memo=None)
        ring = request.target.key_ring
        if request.action == PATCH:
            if dict(request.attributes).get("new-ring", ring) in rings:
                return Verdict(Decision_Abstain(), memo=None)
            return deny(f"Keys stay in the ring {ring}: elsewhere, one manager alone could delete them.")
        if not is_manager(request):
            return deny(f"In the ring {ring}, it takes two managers to delete a key.")
        return Verdict(Decision_Allow([Obligation("require-dual-authorization", "")]), memo=None)


def deny(message: str) -> Verdict:
    return Verdict(Decision_Deny(Denial(DenialKind.FORBIDDEN, "TWO_MANAGERS_ERR", message)), memo=None)


def is_manager(request: Request) -> bool:
    """Whether the caller is a manager of what the request is about. A part that an assignment leaves out is any."""
    target = request.target
    names = {target.key_name, target.key.id if target.key else None}
    return any(
        "Manager" in assignment.roles
        and assignment.instance_id in (None, target.instance_id)
        and assignment.key_ring in (None, target.key_ring)
        and assignment.resource_type in (None, "key")
        and (assignment.resource_id is None or assignment.resource_id in names)
        for assignment in request.principal.assignments
    )


def refused(path: str, message: str) -> Err:
    return Err(SettingsError(path, message))
