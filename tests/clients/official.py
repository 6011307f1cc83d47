"""The integration tests that the official SDK brings along, as they are, against the gateway instead of the service.

They wait for real: here a wait is a journey of the gateway's clock. The tests of KMIP are left out, and those that the
SDK itself skips are skipped. The gateway must be in dev mode and new.
"""

import importlib.util
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest
from harness import FIRST, READY, travel

SUITE = "test/integration/test_ibm_key_protect_api_v2.py"

# How many of them there are, so that none is lost unseen.
EXPECTED = 31


class Outcomes:
    """What became of the tests."""

    def __init__(self):
        self.passed = []
        self.others = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.passed.append(report.nodeid)
        elif report.failed or (report.when != "setup" and report.skipped):
            self.others.append(report.nodeid)


def settings():
    prefix = "IBM_KEY_PROTECT_API_"
    values = {
        "URL": READY["url"],
        "AUTH_TYPE": "iam",
        "AUTH_URL": READY["iam_url"],
        "APIKEY": READY["api_keys"]["manager"],
        "BLUEMIX_INSTANCE": FIRST,
    }
    return "".join(f"{prefix}{name}={value}\n" for name, value in values.items())


def main():
    package = Path(importlib.util.find_spec("keyprotect").origin).parent
    suite = package.parent / SUITE
    assert suite.is_file(), f"{suite} is not there: the SDK is another one than in requirements.txt"
    time.sleep = lambda seconds: travel(f"{math.ceil(seconds)}s")
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        Path("ibm_key_protect_api_v2.env").write_text(settings())
        arguments = [str(suite), "-k", "not kmip", "--rootdir", directory, "-p", "no:cacheprovider", "-q", "--tb=short"]
        code = pytest.main(arguments, plugins=[outcomes])
        os.chdir("/")
    assert code == 0, f"pytest ended with {code}"
    assert not outcomes.others, outcomes.others
    assert len(outcomes.passed) == EXPECTED, f"{len(outcomes.passed)} instead of {EXPECTED}: {outcomes.passed}"
    print(f"{EXPECTED} tests of the SDK: ok")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
