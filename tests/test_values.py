"""Numbers on the command line: ASCII digits, within a bound."""

import pytest

from tvmconv.cli import arguments

ONE = "ic8ih6oc20kh3ph1"
OPTIONS = {
    "--threads": ["verify", ONE],
    "--jobs": ["verify", ONE],
    "--cpus": ["verify", ONE],
    "--tile": ["verify", ONE],
    "--samples": ["bench", ONE],
    "--min-time": ["bench", ONE],
    "--max-time": ["bench", ONE],
    "--trials": ["tune", ONE],
    "--seed": ["tune", ONE, "--trials", "1"],
    "--max-workspace": ["compile", ONE, "-o", "layer.so"],
}


@pytest.mark.parametrize("text", ["٣", "³", "1_0", "+3", " 3", "3 ", "3\n", "-1", "", "NaN", "9" * 5000])
@pytest.mark.parametrize("option", OPTIONS)
def test_only_ascii_digits_are_numbers(capsys: pytest.CaptureFixture[str], option: str, text: str) -> None:
    value = f"{text}x8" if option == "--tile" else text
    with pytest.raises(SystemExit) as refusal:
        arguments.parse([*OPTIONS[option], f"{option}={value}"])
    error = capsys.readouterr().err
    assert refusal.value.code == 2
    assert option in error and "Exceeds the limit" not in error
    assert len(error.splitlines()) == 1 and len(error) < 300
