"""What `up` prints is read as the inventory's own words are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.inventory import arrived
from fleet.models import HostSpec, Provision

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBD9qEsCe5ICS9YNHi7tnnYeKw8FQsBpnDWB5tBWz549"
SPEC = HostSpec(
    name="rock-1",
    user="builder",
    port=2200,
    provision=Provision(up=("up",), down=("down",), folder=Path("/srv/images")),
)


def test_an_address_is_all_that_is_needed() -> None:
    found = arrived(SPEC, '{"address": "10.0.0.7"}\n')
    assert (found.name, found.address, found.user, found.port) == (
        "rock-1", "10.0.0.7", "builder", 2200
    )  # fmt: skip
    assert found.host_keys == ()
    assert found.provision == SPEC.provision


def test_what_up_says_goes_before_what_the_inventory_says() -> None:
    told = {"address": "root@10.0.0.7:22", "identity_file": "keys/id", "host_key": f"{KEY} me@x"}
    found = arrived(SPEC, json.dumps(told))
    assert (found.user, found.port) == ("root", 22)
    assert found.identity_file == Path("/srv/images/keys/id")
    assert found.host_keys == (KEY,)
    found = arrived(SPEC, json.dumps({"address": "h", "user": "pi", "port": 23, "host_key": [KEY]}))
    assert (found.user, found.port, found.host_keys) == ("pi", 23, (KEY,))


def test_it_may_stand_in_the_last_line_or_in_many() -> None:
    assert arrived(SPEC, 'made it\n{"address": "h"}\n\n').address == "h"
    assert arrived(SPEC, '{\n  "address": "h"\n}\n').address == "h"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("", "`up` printed nothing"),
        ("10.0.0.7", "`up` printed no JSON object"),
        ('["10.0.0.7"]', "`up` printed no JSON object"),
        ("{}", "has no address"),
        ('{"address": 7}', "has no address"),
        ('{"address": "a b"}', "is no address of a host"),
        ('{"address": "root:secret@h"}', "an address holds no password"),
        ('{"address": "h", "port": "x"}', "a port is a number"),
        ('{"address": "h", "user": 7}', "user in what `up` printed is no text"),
        ('{"address": "h", "host_key": "SHA256:abc"}', "is no public key"),
        ('{"address": "h", "host_key": 7}', "is no public key"),
    ],
)
def test_what_makes_no_sense_is_said(told: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        arrived(SPEC, told)
    assert said in caught.value.message
    assert "secret" not in caught.value.message
