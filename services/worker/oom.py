"""Whether the kernel killed something for want of memory while an attempt ran."""

from pathlib import Path

_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


class OutOfMemoryWatch:
    """Remembers the kernel's count of such kills when it is made; this container's count where there is one."""

    def __init__(self, counters: tuple[Path, ...] = _COUNTERS) -> None:
        self._counters = counters
        self._before = self._count()

    def happened(self) -> bool:
        """Whether the count has grown since."""
        return self._count() > self._before

    def _count(self) -> int:
        for path in self._counters:
            if path.is_file():
                for line in path.read_text().splitlines():
                    name, _, value = line.partition(" ")
                    if name == "oom_kill":
                        return int(value)
        return 0
