"""The hooks by which a `Sniper` follows gradients and updates, one `Sniper` to an optimizer."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from torch import nn
from torch.optim import Optimizer

# By the id of an optimizer or parameter. An id stays valid while its Attachment lives, which keeps
# the object alive.
_ATTACHED: WeakValueDictionary[int, Any] = WeakValueDictionary()


class Attachment:
    """Hooks on an optimizer and on parameters."""

    def __init__(
        self,
        optimizer: Optimizer,
        on_gradient: Callable[[str], None],
        before_update: Callable[[], None],
        after_update: Callable[[], None],
        restore_rates: Callable[[], None],
    ) -> None:
        """
        Args:
            on_gradient: called with a parameter's name after each accumulation of its gradient.
            before_update: called when all gradients are there, just before the update.
            after_update: called after the update.
            restore_rates: called before anyone may look at the optimizer's learning rates.
        """
        self._optimizer = optimizer
        self._on_gradient = on_gradient
        self._before_update = before_update
        self._after_update = after_update
        self._restore_rates = restore_rates
        self._objects: list[Any] = []
        self._handles: list[Any] = []

    def require_free(self, parameters: Iterable[nn.Parameter]) -> None:
        """Raise ValueError if another `Sniper` is attached to the optimizer or a parameter."""
        objects = [self._optimizer, *parameters]
        if any(_ATTACHED.get(id(each), self) is not self for each in objects):
            raise ValueError(
                "another Sniper is attached to this model or its optimizer: call its detach(), or "
                "build both anew"
            )

    def attach(self, parameters: dict[str, nn.Parameter]) -> None:
        """Place the hooks.

        Raises:
            ValueError: another `Sniper` is attached.
        """
        self.require_free(parameters.values())
        self._objects = [self._optimizer, *parameters.values()]
        _ATTACHED.update({id(each): self for each in self._objects})
        self._handles = [
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(lambda *_: self._after_update()),
            # An exception inside a step leaves the scaled rates in place.
            self._optimizer.register_state_dict_pre_hook(lambda *_: self._restore_rates()),
            self._optimizer.register_load_state_dict_pre_hook(lambda *_: self._restore_rates()),
        ]
        for name, parameter in parameters.items():
            if parameter.requires_grad:
                hook = partial(self._after_accumulation, name)
                self._handles.append(parameter.register_post_accumulate_grad_hook(hook))

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for each in self._objects:
            del _ATTACHED[id(each)]
        self._objects = []

    def _after_accumulation(self, name: str, _: nn.Parameter) -> None:
        self._on_gradient(name)

    def _before_step(self, _: Optimizer, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        self._restore_rates()
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._wrapped(kwargs["closure"])}
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._wrapped(args[1]), *args[2:]), kwargs
        self._before_update()
        return None

    def _wrapped(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, which computes gradients inside the step, followed by `before_update`."""

        def wrapped() -> Any:
            self._restore_rates()
            result = closure()
            self._before_update()
            return result

        return wrapped
