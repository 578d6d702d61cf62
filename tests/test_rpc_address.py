"""--device, --tracker and --key: what they mean, without a device."""

from __future__ import annotations

import pytest

from tvmconv import cli
from tvmconv.rpc import address
from tvmconv.rpc.address import Address, Where
from tvmconv.rpc.deadlines import deadlines
from tvmconv.rpc.device_info import Described, DeviceCluster, cpus_of, parse
from tvmconv.rpc.errors import DeviceError
from tvmconv.target.devices import DEVICES
from tvmconv.workload.shape import ConvShape

HERE = Address("127.0.0.1", 9190)
PIXEL6 = next(device for device in DEVICES if device.name == "pixel6")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TVM_TRACKER_HOST", "TVM_TRACKER_PORT", "TVM_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("local",), None),
        (("emulator",), None),
        (("pixel6",), Where("pixel6", "pixel6", tracker=HERE)),
        (("pixel6/big",), Where("pixel6/big", "pixel6", "big", HERE)),
        (("pixel6", "pc:1", "mine"), Where("pixel6", "mine", tracker=Address("pc", 1))),
        (("10.0.0.7:9090",), Where("10.0.0.7:9090", server=Address("10.0.0.7", 9090))),
        (("[::1]:9090", None, "mine"), Where("[::1]:9090", "mine", server=Address("::1", 9090))),
        (("emulated-aarch64",), Where("emulated-aarch64", emulated=True)),
    ],
)
def test_where_a_device_is(options: tuple[str, ...], expected: Where | None) -> None:
    assert address.parse(*options) == expected


def test_the_environment_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TVM_TRACKER_HOST", "::1"), ("TVM_TRACKER_PORT", "9191"), ("TVM_KEY", "mine")):
        monkeypatch.setenv(name, value)
    assert address.parse("pixel6") == Where("pixel6", "mine", tracker=Address("::1", 9191))
    assert str(Address("::1", 9191)) == "[::1]:9191"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--device", "pixel6", "--tracker", "pc"], "'pc' is not an address such as"),
        (["--device", "pc:70000"], "'pc:70000' is not an address such as"),
        (["--device", "pixel6/"], "'pixel6/' is not a device"),
        (["--device", "mine"], "--device mine is none of `list devices`, so say what code it takes"),
        (["--device", "pixel6/huge"], "huge"),
        (["--cpus", "big"], "--cpus big: clusters are a device's; give a list"),
        (["--device", "pixel6", "--cpus", "0,big"], "is not a list of CPUs"),
    ],
)
def test_what_makes_no_sense_is_said(capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) if "0,big" in argv else _nothing():
        assert cli.main(["verify", "ic1ih1oc1kh1", *argv]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (("pixel6",), "pixel6"),
        (("pixel6/little",), "pixel6/little"),
        (("10.0.0.7:9090", None, "pixel6"), "pixel6"),
        (("emulated-aarch64",), "aarch64"),
    ],
)
def test_the_code_for_a_device(options: tuple[str, ...], target: str) -> None:
    where = address.parse(*options)
    assert where and address.default_target(where).name == target


def test_deadlines_follow_from_the_layer_and_the_weakest_core() -> None:
    layer, small = ConvShape.parse("ic64ih56oc64kh3ph1"), ConvShape.parse("ic1ih1oc1kh1")
    known, unknown, emulated = (
        deadlines(where) for where in map(address.parse, ("pixel6", "mine", "emulated-aarch64")) if where
    )
    assert known.seconds() <= known.seconds(small) < known.seconds(layer) < unknown.seconds(layer)
    assert unknown.seconds(layer) < emulated.seconds(layer)


SAID = '{"server": "tvmconv 1", "machine": "aarch64", "cpus": "0-7", "features": ["asimd"], "clusters": %s}'
CLUSTERS = '[{"cpus": "0-3", "part": "0xd05"}, {"cpus": "4-5", "part": "0xd41"}, {"cpus": "6-7", "part": "0xd44"}]'


def test_clusters_have_the_tables_names() -> None:
    described = parse(SAID % CLUSTERS)
    assert described.cpus == tuple(range(8))
    assert cpus_of(["little"], PIXEL6, described) == (0, 1, 2, 3)
    assert cpus_of(["big", "mid"], PIXEL6, described) == (6, 7, 4, 5)
    clocks = (
        DeviceCluster((0, 1), max_mhz=2800),
        DeviceCluster((2, 3), max_mhz=2200),
        DeviceCluster((4,), max_mhz=1800),
    )
    assert cpus_of(["big"], PIXEL6, Described(clusters=clocks)) == (0, 1)
    with pytest.raises(ValueError, match="tells 0 clusters apart, and pixel6 has 3"):
        cpus_of(["big"], PIXEL6, Described())
    with pytest.raises(ValueError, match="none of `list devices`"):
        cpus_of(["big"], None, described)
    with pytest.raises(ValueError, match="cluster of pixel6"):
        cpus_of(["huge"], PIXEL6, described)
    assert parse(SAID % '[{"cpus": "0-1,4"}]').clusters == (DeviceCluster((0, 1, 4)),)


@pytest.mark.parametrize("text", ["", "{}", "[]", SAID % '[{"cpus": "x"}]', '{"server": 1, "machine": 2, "cpus": 3}'])
def test_a_damaged_description_is_said(text: str) -> None:
    with pytest.raises(DeviceError, match="the server's description of the device is damaged"):
        parse(text)


def test_what_a_device_refuses() -> None:
    kernel = {"triple": "aarch64-unknown-linux-gnu", "target": "pixel6", "features": ["asimd", "asimddp"]}
    assert Described().refuses(kernel) is None
    assert "lacks asimddp" in str(parse(SAID % "[]").refuses(kernel))
    assert "made for aarch64, and the device is x86_64" in str(Described(machine="x86_64").refuses(kernel))
