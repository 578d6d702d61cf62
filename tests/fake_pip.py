"""Modules in the place of venv and pip."""

from __future__ import annotations

# `python -m venv --clear ENV`: a folder with a Python in it.
FAKE_VENV = """
import os, pathlib, shutil, sys
env = pathlib.Path(sys.argv[-1])
shutil.rmtree(env, ignore_errors=True)
(env / "bin").mkdir(parents=True)
(env / "bin" / "python").symlink_to(os.environ["REAL_PYTHON"])
(env / "pyvenv.cfg").write_text("home = nowhere")
"""
# `ENV/bin/python -m pip install ... --editable CHECKOUT[EXTRAS]`: notes the call, is as slow or as broken as it is
# told, and leaves commands that print their folder and arguments.
FAKE_PIP = """
import os, pathlib, sys, time
checkout, _, extras = sys.argv[-1].partition("[")
scripts = pathlib.Path(os.environ["TVMCONV_VENV"]) / "bin"
with open(checkout + "/calls", "a") as calls:
    print(extras.rstrip("]"), *sorted(p.name for p in scripts.iterdir()), file=calls, flush=True)
(scripts / "half").touch()
time.sleep(float(os.environ.get("PIP_SECONDS", 0)))
if os.environ.get("PIP_FAILS"):
    sys.exit("no such package: unobtainium")
(scripts / "half").unlink()
for name in ("tvmconv", "pytest", "ruff", "mypy", "lint-imports"):
    (scripts / name).write_text(
        f"#!{sys.executable}\\nimport os, sys\\nprint({name!r}, os.getcwd(), sys.argv[1:])\\n"
        f"sys.exit({name!r} == os.environ.get('FAILING') and 7)"
    )
    (scripts / name).chmod(0o755)
"""
