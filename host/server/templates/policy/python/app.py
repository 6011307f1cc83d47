"""A policy rule for Keygate: in guarded key rings nobody deletes keys, nor takes them out."""

# Import everything here, while the component is being built. In the gateway there are no files to import from.
import json
from typing import List

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (
    Decision_Abstain,
    Decision_Deny,
    Denial,
    DenialKind,
    Description,
    Request,
    SettingsError,
    Verdict,
)

# The actions that this rule has something to say to. The gateway does not even ask about others.
# `patch` moves keys to other rings, where they could be deleted.
ACTIONS = ["kms.secrets.delete", "kms.secrets.patch"]

# The ids of the guarded rings, from the operator's `settings = { rings = ["prod"] }`. A sandbox lives for one call, and
# is given its settings first.
rings: List[str] = []


class Rule(exports.Rule):
    def configure(self, settings: str) -> None:
        global rings
        given = json.loads(settings)
        for name in given:
            if name != "rings":
                raise Err(SettingsError(name, "there is no such setting; the only one is `rings`"))
        rings = given.get("rings")
        if not isinstance(rings, list) or not all(isinstance(ring, str) for ring in rings):
            raise Err(SettingsError("rings", 'expected a list of the ids of key rings, such as ["prod"]'))

    def describe(self) -> Description:
        return Description(name="{{name}}", version="0.1.0", actions=ACTIONS)

    def evaluate(self, request: Request) -> Verdict:
        ring = request.target.key_ring
        if request.action not in ACTIONS or ring not in rings:
            # No objection. It is for another rule, such as the built-in `access`, to say yes.
            return Verdict(Decision_Abstain(), memo=None)
        message = f"Keys in the ring {ring} cannot be deleted."
        if request.action == "kms.secrets.patch":
            if dict(request.attributes).get("new-ring", ring) == ring:
                # Something else about the key changes.
                return Verdict(Decision_Abstain(), memo=None)
            message = f"Keys in the ring {ring} stay in it."
        return Verdict(Decision_Deny(Denial(DenialKind.CONFLICT, "RING_GUARDED_ERR", message)), memo=None)
