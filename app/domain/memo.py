"""A bounded memory of what was computed from state that has a stamp: nothing in it can go stale.

Keys carry the epochs that their value was computed under. When an epoch moves, old keys are never asked for again and
age out; there is no time to live, and nothing to invalidate.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar, cast
from weakref import WeakValueDictionary

T = TypeVar("T")


class Memo:
    """Keeps what was last asked for, up to a total weight: about how many small objects are held."""

    def __init__(self, *, max_weight: int = 500_000) -> None:
        self._max_weight = max_weight
        self._weight = 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._lock = Lock()
        self._turns: WeakValueDictionary[Hashable, Lock] = WeakValueDictionary()
        """Whose turn it is to make what is under a key, as long as somebody wants it."""

    def get(self, key: Hashable) -> object | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: object, *, weight: int = 100) -> None:
        """Keep `value`; what was not asked for the longest makes room."""
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self._entries[key] = (value, weight)
            self._weight += weight - before
            while self._weight > self._max_weight and len(self._entries) > 1:
                _, (_, freed) = self._entries.popitem(last=False)
                self._weight -= freed

    def recall(self, key: Hashable, make: Callable[[], T], *, weigh: Callable[[T], int] = lambda _: 100) -> T:
        """The value under `key`, made now if it is not there. When several ask at once, one makes it for all.

        What `make` recalls in turn must be under other keys, and never in a circle. If it fails, the next one tries.
        """
        found = self.get(key)
        if found is not None:
            return cast(T, found)
        with self._lock:
            turn = self._turns.setdefault(key, Lock())
        with turn:
            found = self.get(key)
            if found is not None:
                return cast(T, found)
            made = make()
            self.put(key, made, weight=weigh(made))
            return made
