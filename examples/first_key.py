"""From nothing to a wrapped data key with the official Key Protect SDK: `pip install keyprotect`.

Everything but the two URLs is what one writes for Key Protect itself.
"""

import argparse
import base64
import json
import os

from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from keyprotect.ibm_key_protect_api_v2 import IbmKeyProtectApiV2

KEY = "application/vnd.ibm.kms.key+json"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--instance", required=True)
    arguments = parser.parse_args()

    service = IbmKeyProtectApiV2(authenticator=IAMAuthenticator(arguments.api_key, url=arguments.url))
    service.set_service_url(arguments.url)
    instance = arguments.instance

    body = {
        "metadata": {"collectionType": KEY, "collectionTotal": 1},
        "resources": [{"type": KEY, "name": "first-key", "extractable": False}],
    }
    created = service.create_key(bluemix_instance=instance, key_create_body=json.dumps(body)).get_result().json()
    key = created["resources"][0]["id"]
    print("root key:    ", key)

    data_key = os.urandom(32)
    wrapped = service.wrap_key(
        id=key,
        bluemix_instance=instance,
        key_action_wrap_body=json.dumps({"plaintext": base64.b64encode(data_key).decode(), "aad": ["invoice-7"]}),
    ).get_result().json()
    print("ciphertext:  ", wrapped["ciphertext"][:48] + "...")

    unwrapped = service.unwrap_key(
        id=key,
        bluemix_instance=instance,
        key_action_unwrap_body=json.dumps({"ciphertext": wrapped["ciphertext"], "aad": ["invoice-7"]}),
    ).get_result()
    unwrapped = unwrapped if isinstance(unwrapped, dict) else unwrapped.json()
    assert base64.b64decode(unwrapped["plaintext"]) == data_key
    print("unwrapped:    the same 32 bytes")


if __name__ == "__main__":
    main()
