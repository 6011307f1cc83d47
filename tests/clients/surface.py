"""The official SDK on the whole surface of the API: every method of it in success, with what it must answer, and the
refusals that its users meet. KMIP is not part of it.

The gateway must be in dev mode, of which the journeys in time make use, and new.
"""

import json

import surface_keys
import surface_lists
import surface_policies
import surface_registrations
from harness import FIRST, READY, answered, client, create, new_key, refused, resource, run, unique
from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from keyprotect.ibm_key_protect_api_v2 import IbmKeyProtectApiV2


def log_in():
    wrong = IbmKeyProtectApiV2(authenticator=IAMAuthenticator("no such key", url=READY["iam_url"]))
    wrong.set_service_url(READY["url"])
    try:
        wrong.get_keys(bluemix_instance=FIRST)
    except ApiException as error:
        assert error.status_code == 400, error
    else:
        raise AssertionError("an unknown API key was taken")
    refused(401, None, client("nobody").get_keys, bluemix_instance=FIRST)


def compressed_bodies():
    service = client("manager").service()
    service.set_enable_gzip_compression(True)
    try:
        response = service.create_key(
            bluemix_instance=FIRST, key_create_body=new_key(unique("gzip")), prefer="return=representation"
        )
        key = resource(201, response)["id"]
        wrapped = answered(200, service.wrap_key(id=key, bluemix_instance=FIRST, key_action_wrap_body="{}"))
        body = json.dumps({"ciphertext": wrapped["ciphertext"]})
        unwrapped = service.unwrap_key(id=key, bluemix_instance=FIRST, key_action_unwrap_body=body)
        assert answered(200, unwrapped)["plaintext"] == wrapped["plaintext"]
    finally:
        service.set_enable_gzip_compression(False)


def correlation():
    mine = "5d4a8e0c-3c1e-4f0e-9b0a-0f8f8f6f7d11"
    key = create(client("manager"), unique("correlated"))["id"]
    response = client("reader").get_key_metadata(id=key, bluemix_instance=FIRST, correlation_id=mine)
    assert response.get_headers()["Correlation-Id"] == mine


if __name__ == "__main__":
    run(
        log_in,
        compressed_bodies,
        correlation,
        # While the second instance is empty, and before its doors are shut.
        *surface_lists.PARTS,
        *surface_keys.PARTS,
        *surface_registrations.PARTS,
        *surface_policies.PARTS,
        surface_registrations.every_method_succeeded,
    )
