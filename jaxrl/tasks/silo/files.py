"""Files that agents share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrl.rollout.chat import Tool
from jaxrl.tasks.silo.board import DELAY, Action, Caller, Result, Transfer
from jaxrl.tasks.silo.tools import ANYTHING, TEXT, done, tool

_SHARED = f"Agents share files that all can list, read, write and delete. {DELAY}"
_LIST_FILES = tool(
    "list_files", "List files, all or those with a prefix.", optional={"prefix": TEXT}
)
_READ = tool("read_file", "Read a file.", {"path": TEXT})
_WRITE = tool(
    "write_file", "Write or replace a file.", {"path": TEXT, "content": ANYTHING}
)
_DELETE = tool("delete_file", "Delete a file.", {"path": TEXT})


class File(NamedTuple):
    """A value under a path."""

    content: Any
    writer: int
    round: int
    known: frozenset[int]

    @property
    def facts(self) -> dict[str, int]:
        """What agents are told beside the content."""
        return {"modified_by": self.writer, "modified_at_round": self.round}


class Files:
    """Files that all agents see as they were at the end of the previous round."""

    def __init__(self, agents: int, lost: frozenset[int]):
        """An empty store."""
        self.lost = lost
        self.writes = 0
        self.files: dict[str, File] = {}
        self.staged: dict[str, File | None] = {}
        self.events = [0] * agents
        self.transfers: list[Transfer] = []
        self.about, self.about_news = _SHARED, ""
        declared = (_LIST_FILES, _READ, _WRITE, _DELETE)
        self.tools: Mapping[str, Tool] = {t["function"]["name"]: t for t in declared}
        self._actions: dict[str, Action] = {
            "list_files": self._list,
            "read_file": self._read,
            "write_file": self._write,
            "delete_file": self._delete,
        }

    def perform(self, name: str, caller: Caller, given: Mapping[str, Any]) -> Result:
        """See `Board`."""
        return self._actions[name](caller, given)

    def news(self, caller: Caller) -> Result | None:
        """See `Board`; files don't come by themselves."""
        return None

    def close(self) -> None:
        """See `Board`. Of several writers of a path in a round the last one wins."""
        for path, file in self.staged.items():
            if file is None:
                self.files.pop(path, None)
            else:
                self.files[path] = file
                self.events[file.writer] += 1
        self.staged = {}

    def saved(self) -> Any:
        """See `Board`."""
        files = {path: [*f[:3], sorted(f.known)] for path, f in self.files.items()}
        return [files, self.writes, self.events, self.transfers]

    def restore(self, saved: Any) -> None:
        """See `Board`."""
        files, self.writes, self.events, transfers = saved
        self.files = {
            path: File(content, writer, at, frozenset(known))
            for path, (content, writer, at, known) in files.items()
        }
        self.transfers = [Transfer(*t) for t in transfers]

    def _list(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        prefix = given.get("prefix", "")
        shown = [
            {"path": path, **file.facts}
            for path, file in sorted(self.files.items())
            if path.startswith(prefix)
        ]
        return Result({"files": shown})

    def _read(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        file = self.files.get(given["path"])
        if file is None:
            return Result(_missing(given["path"]))
        if file.writer != caller.agent:
            self.transfers.append(Transfer(caller.round, file.writer, caller.agent))
        value = {"success": True, "content": file.content, "metadata": file.facts}
        return Result(value, file.known)

    def _write(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        number, self.writes = self.writes, self.writes + 1
        if number not in self.lost:
            file = File(given["content"], caller.agent, caller.round, caller.known)
            self.staged[given["path"]] = file
        return Result(done("written; others see it from the next round on"))

    def _delete(self, caller: Caller, given: Mapping[str, Any]) -> Result:
        path = given["path"]
        # As in the release, deleting sees what was written in this round.
        if self.staged.get(path, self.files.get(path)) is None:
            return Result(_missing(path))
        self.staged[path] = None
        return Result(done("deleted"))


def _missing(path: str) -> Any:
    return {"success": False, "error": f"there is no file {path!r}"}
