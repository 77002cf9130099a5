"""Who has hooks on which optimizers and parameters: two on one would spoil each other's work."""

from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

# By id, which stays an object's own while the holder, whose hooks are on it, lives.
_HOLDERS: WeakValueDictionary[int, Any] = WeakValueDictionary()


def require_free(holder: Any, objects: Iterable[Any]) -> None:
    """Raise ValueError if one of the objects has another holder."""
    if any(_HOLDERS.get(id(each), holder) is not holder for each in objects):
        raise ValueError(
            "another Sniper is attached to this model or its optimizer: call its detach(), or "
            "build both anew"
        )


def hold(holder: Any, objects: Iterable[Any]) -> None:
    """Note the holder of these objects; it has to keep them alive as long as itself."""
    _HOLDERS.update({id(each): holder for each in objects})


def release(holder: Any) -> None:
    """Forget all that it holds."""
    for key in [key for key, each in _HOLDERS.items() if each is holder]:
        del _HOLDERS[key]
