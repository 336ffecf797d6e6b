"""
Install the built wheel as a user does, into a fresh environment, and send a message to the sandbox with it.

``make test-wheel``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import intercom_provider

DIST = Path(__file__).resolve().parents[1] / "dist"

SEND = """
import json, os
import intercom_provider
from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.sandbox import Sandbox

with Sandbox() as sandbox:
    os.environ["AIRFLOW_CONN_INTERCOM_DEFAULT"] = json.dumps(sandbox.connection)
    receipt = IntercomHook().send_message(
        {"message_type": "in_app", "to": {"type": "user", "id": "ada"}, "body": "Hello"}
    )
    assert receipt.outcome == "sent", receipt
    assert len(sandbox.messages) == 1
print(intercom_provider.__version__, "sends, from", intercom_provider.__file__)
"""


def main() -> int:
    """
    Install and run the wheel of this version.

    :return: The exit status, of the first command that failed if one did.
    """
    (wheel,) = DIST.glob(f"airflow_provider_intercom-{intercom_provider.__version__}-*.whl")
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        # Without the variables of Airflow and Python, so that nothing of this project's own environment is used.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        environment = {**kept, "AIRFLOW_HOME": str(Path(folder) / "airflow")}
        for command in (
            [sys.executable, "-m", "venv", str(python.parents[1])],
            [str(python), "-m", "pip", "install", "--quiet", str(wheel)],
            [str(python), "-m", "airflow", "providers", "get", "airflow-provider-intercom"],
            [str(python), "-c", SEND],
        ):
            ended = subprocess.run(command, cwd=folder, env=environment, check=False)  # noqa: S603 - our own commands
            if ended.returncode:
                return ended.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
