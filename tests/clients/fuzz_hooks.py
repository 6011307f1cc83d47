"""What schemathesis cannot know of the API."""

import schemathesis
from schemathesis.core.failures import ServerError
from schemathesis.openapi.checks import IgnoredAuth, RejectedPositiveData, UseAfterFree

# A path of its own, which looks like one with a key of that name in it.
OTHER = "/api/v2/keys/registrations"

# Reasons to refuse, with 400, a request that is as the document says: what no schema can say, by code and target.
UNSAID = {
    # What the key is: a standard one, one that was imported, one that was generated.
    ("KEY_ROOT_REQ_ERR", None),
    ("KEY_ROOT_REQ_ERR", "rotation"),
    ("KEY_PAYLOAD_REQ_ERR", "payload"),
    ("KEY_IMPT_REQ_ERR", "payload"),
    ("INVALID_FIELD_ERR", "payload"),
    ("INVALID_QUERY_PARAM_ERR", "payload"),
    ("INVALID_FIELD_ERR", "rotation"),
    # Whether material and nonce fit the import token, and the length of the nonce's IV the algorithm.
    ("INCORRECT_NONCE_ERR", "encryptedNonce"),
    ("INCORRECT_NONCE_IV_ERR", "encryptedNonce"),
    ("INVALID_FIELD_ERR", "iv"),
    # Fields that sealed material has, beside no material or one in clear: to the schema they are unknown there.
    ("MISSING_FIELD_ERR", "payload"),
    ("MISSING_FIELD_ERR", "encryptedNonce"),
    ("MISSING_FIELD_ERR", "iv"),
    # A date in the past, or before 1970.
    ("INVALID_FIELD_ERR", "expirationDate"),
    ("INVALID_FIELD_ERR", "timestamp"),
    # An event twice.
    ("INVALID_FIELD_ERR", "eventId"),
    # Schemas count characters, and these have so many bytes.
    ("INVALID_FIELD_ERR", "name"),
    ("INVALID_FIELD_ERR", "registrationMetadata"),
    # 30 February, and more than three conditions on a property; a property twice; an option twice, or nothing after it;
    # `state` beside a filter on it.
    ("INVALID_QUERY_PARAM_ERR", "filter"),
    ("INVALID_QUERY_PARAM_ERR", "sort"),
    ("INVALID_QUERY_PARAM_ERR", "search"),
    ("INVALID_QUERY_PARAM_ERR", "state"),
    ("INVALID_QUERY_PARAM_ERR", "extractable"),
    # The parameter `policy` against the body; a policy twice; what a policy must say while it is on; what is no range of
    # addresses.
    ("BODY_QUERY_PARAM_MISMATCH_ERR", "policy"),
    ("NUM_COLLECTION_RESOURCE_ERR", "resources"),
    ("COLLECTION_TOTAL_MISMATCH_ERR", "collectionTotal"),
    ("BAD_BODY_ERR", "resources"),
    ("MISSING_FIELD_ERR", "allowed_ip"),
    ("INVALID_FIELD_ERR", "allowed_ip"),
    ("MISSING_FIELD_ERR", "interval_month"),
    # A whole number is one for a schema even as 3.0.
    ("INVALID_FIELD_ERR", "collectionTotal"),
    ("INVALID_FIELD_ERR", "interval_month"),
    ("INVALID_FIELD_ERR", "expiration"),
    ("INVALID_FIELD_ERR", "maxAllowedRetrievals"),
    # The ring `default`, which is never deleted.
    ("INVALID_PATH_PARAM_ERR", "key-ring-id"),
}

# Reasons of one operation: which body the parameter `action` wants.
UNSAID_OF = {"POST /api/v2/keys/{id}": {("NO_BODY_ERR", None), ("MISSING_FIELD_ERR", "ciphertext")}}

# Their refusals have no reasons: an API key that is nobody's, or an answer without a body.
WITHOUT_REASONS = ["POST /identity/token", "POST /oidc/token", "HEAD /api/v2/keys"]


def unsaid(operation, response):
    """Whether a refusal is for reasons alone that the document cannot tell beforehand."""
    if response.status_code != 400 or operation in WITHOUT_REASONS:
        return response.status_code == 400
    reasons = response.json()["resources"][0].get("reasons", [])
    found = {(reason["code"], reason.get("target", {}).get("name")) for reason in reasons}
    return bool(found) and found <= UNSAID | UNSAID_OF.get(operation, set())


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Passes over what is no failure here."""
    if isinstance(failure, ServerError):
        return True
    if isinstance(failure, IgnoredAuth):
        # A bearer token that is no JWT is refused with 400; schemathesis knows of 401 and 403 alone.
        return "got `400 Bad Request`" not in failure.message
    if isinstance(failure, RejectedPositiveData) and unsaid(case.operation.label, response):
        return False
    if isinstance(failure, UseAfterFree):
        # A key that was deleted can be read, and restored, until it is purged.
        return "/purge" in failure.free or not case.operation.path.startswith("/api/v2/keys/{id}")
    return case.operation.path == OTHER or case.formatted_path != OTHER
