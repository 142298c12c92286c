import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.guest.command import PATH, command_of
from haulout.guest.refusal import GuestRefusal, Rule

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/srv/web:/bin/sh\nbroken\n"
GROUP = "root:x:0:\nwww:x:33:web,other\nstaff:x:50:other,web\nbroken\n"


def of(passwd=PASSWD, group=GROUP, **config):
    return command_of(json.dumps({"config": config}).encode(), passwd, group)


def test_entrypoint_and_command_are_joined():
    found = of(Entrypoint=["/bin/sh", "-c"], Cmd=["true"], WorkingDir="/srv", ExposedPorts={"80/tcp": {}, "22/tcp": {}})
    assert found.argv == ("/bin/sh", "-c", "true")
    assert (found.folder, found.ports) == ("/srv", ("22/tcp", "80/tcp"))


def test_without_either_the_root_is_a_machine():
    assert of().argv == ("/sbin/init",)
    assert of(Entrypoint=None, Cmd=None, Env=None, User=None).argv == ("/sbin/init",)
    assert command_of(b'{"architecture":"amd64"}', "", "").argv == ("/sbin/init",)


def test_the_environment_is_the_images_and_no_other():
    found = of(Env=["A=b=c", "EMPTY=", "PATH=/opt/bin"])
    assert found.environment == {"A": "b=c", "EMPTY": "", "PATH": "/opt/bin", "HOME": "/root"}
    assert of(Env=["HOME=/home"]).environment == {"PATH": PATH, "HOME": "/home"}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (), "/root")),
        ("web", (1000, 1001, (33, 50), "/srv/web")),
        ("1000", (1000, 1001, (33, 50), "/srv/web")),
        ("web:www", (1000, 33, (), "/srv/web")),
        ("web:7", (1000, 7, (), "/srv/web")),
        ("4000", (4000, 0, (), "/")),
        ("4000:4001", (4000, 4001, (), "/")),
    ],
)
def test_a_user_is_found_as_engines_find_it(user, expected):
    found = of(User=user)
    assert (found.uid, found.gid, found.groups, found.environment["HOME"]) == expected


@pytest.mark.parametrize("user", ["nobody", "web:nothing", "-1", "99999999999", "٣"])
def test_a_user_who_is_not_there_is_refused(user):
    with pytest.raises(GuestRefusal) as refused:
        of(User=user)
    assert refused.value.rule is Rule.COMMAND


@pytest.mark.parametrize(
    "config", [{"Cmd": "sh"}, {"Cmd": [1]}, {"Env": {"A": "b"}}, {"User": 3}, {"Cmd": ["a\0b"]}, {"WorkingDir": ["/"]}]
)
def test_a_configuration_of_another_form_is_refused(config):
    with pytest.raises(GuestRefusal):
        of(**config)


@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=60))
def test_no_bytes_do_anything_else(data, passwd, group):
    with pytest.raises(GuestRefusal):
        command_of(data, passwd, group)
