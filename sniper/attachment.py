"""The hooks by which a `Sniper` follows gradients and updates, one `Sniper` to an optimizer."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# By the id of an optimizer or parameter. An id stays valid while its Attachment lives, which keeps
# the object alive.
_ATTACHED: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class Events:
    """The functions that an `Attachment` calls.

    Attributes:
        on_gradient: with a parameter's name and itself, after each accumulation of its gradient.
        between_steps: when gradients have come, but not those of a closure within a step.
        before_update: when all gradients are there.
        apply_rates: just before the update.
        restore_rates: before anyone may look at the learning rates, with whether the optimizer
            has made its step.
        after_step: after the optimizer's step, with whether it has been an update.
        on_state_loaded: after the optimizer has loaded a state.
    """

    on_gradient: Callable[[str, Tensor], None]
    between_steps: Callable[[], None]
    before_update: Callable[[], None]
    apply_rates: Callable[[], None]
    restore_rates: Callable[[bool], None]
    after_step: Callable[[bool], None]
    on_state_loaded: Callable[[], None]


class Attachment:
    """Hooks on an optimizer, on those that it wraps, and on parameters.

    Each update is reported once. A step within another, as when a subclass calls the step of its
    base class, is a part of it. A step that changes nothing is no update: without any gradient,
    with gradients and rates that are all zero, or skipped by a fused optimizer because a
    `GradScaler` has found gradients that are not finite.
    """

    def __init__(self, chain: Sequence[Optimizer], events: Events) -> None:
        """
        Args:
            chain: an optimizer and those that it wraps, outermost first.
        """
        self._chain, self._events = chain, events
        self._objects: list[Any] = []
        self._handles: list[Any] = []
        self._running: list[weakref.ref[_Step]] = []  # outermost first
        self._has_gradients = False
        self._in_closure = False
        self._idle = _IdleWatch(type(chain[0]).__name__)

    def require_free(self, parameters: Iterable[nn.Parameter]) -> None:
        """Raise ValueError if another `Sniper` is attached to an optimizer or a parameter."""
        objects = [*self._chain, *parameters]
        if any(_ATTACHED.get(id(each), self) is not self for each in objects):
            raise ValueError(
                "another Sniper is attached to this model or its optimizer: call its detach(), or "
                "build both anew"
            )

    def attach(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Place the hooks.

        Raises:
            ValueError: another `Sniper` is attached, or the optimizer has no hooks.
        """
        self.require_free(parameters.values())
        self._objects = [*self._chain, *parameters.values()]
        _ATTACHED.update({id(each): self for each in self._objects})
        # An optimizer's step may be compiled, but not its hooks.
        before_step, after_step = map(torch.compiler.disable, (self._before_step, self._after_step))
        for optimizer in self._chain:
            # Some wrappers do not call Optimizer.__init__, so they have no hooks, or not all.
            with suppress(AttributeError) if optimizer is not self._chain[-1] else nullcontext():
                for register, hook in (
                    (optimizer.register_step_pre_hook, before_step),
                    (optimizer.register_step_post_hook, after_step),
                    (optimizer.register_state_dict_pre_hook, self._restore_rates),
                    (optimizer.register_load_state_dict_pre_hook, self._restore_rates),
                    (optimizer.register_load_state_dict_post_hook, self._state_loaded),
                ):
                    self._handles.append(register(hook))
        for name, parameter in parameters.items():
            self._on_gradient_of(parameter, partial(self._events.on_gradient, name))
        watched = next((p for p in parameters.values() if p.requires_grad), None)
        if watched is not None:
            self._on_gradient_of(watched, self._between_steps)

    def _on_gradient_of(self, parameter: nn.Parameter, hook: Callable[[Tensor], None]) -> None:
        frozen = not parameter.requires_grad
        parameter.requires_grad_(True)  # or torch refuses the hook, which a thawed weight needs
        self._handles.append(parameter.register_post_accumulate_grad_hook(hook))
        parameter.requires_grad_(not frozen)

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for each in self._objects:
            del _ATTACHED[id(each)]
        self._objects = []

    def _restore_rates(self, *_: Any) -> None:
        """Restore what an exception inside a step has left in place, before anyone may see it."""
        self._events.restore_rates(False)

    def _state_loaded(self, *_: Any) -> None:
        self._events.on_state_loaded()

    def _between_steps(self, parameter: nn.Parameter) -> None:
        """No step is running when gradients come outside of a closure."""
        if not self._in_closure:
            self._running = []
            self._idle.on_gradient(parameter)
            self._events.between_steps()

    # ---- steps

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        step = _Step(kwargs, optimizer)
        outer = [each() for each in self._running]
        self._running.append(weakref.ref(step, self._after_exit))
        if any(each is not None and each.optimizer is optimizer for each in outer):
            return args, step
        if not outer:
            self._has_gradients = False
        self._events.restore_rates(False)
        if step.get("closure") is not None:
            step["closure"] = self._wrapped(optimizer, step["closure"])
        elif len(args) > 1 and args[1] is not None:
            args = (args[0], self._wrapped(optimizer, args[1]), *args[2:])
        else:
            self._before_update(optimizer)
        return args, step

    def _wrapped(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, which computes gradients inside the step, followed by `before_update`."""

        def wrapped() -> Any:
            self._events.restore_rates(False)
            self._in_closure = True
            try:
                result = closure()
            finally:
                self._in_closure = False
            self._before_update(optimizer)
            return result

        return wrapped

    def _before_update(self, optimizer: Optimizer) -> None:
        self._events.before_update()
        self._has_gradients = self._has_gradients or _may_change_weights(optimizer)
        if optimizer is self._chain[-1]:
            self._events.apply_rates()

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        outer = [each() for each in self._running[:-1]]
        if any(each is not None and each.optimizer is optimizer for each in outer):
            return
        self._events.restore_rates(True)
        if not outer:
            skipped = any(_found_infinity(each) for each in self._chain)
            self._events.after_step(self._has_gradients and not skipped)
            self._idle.reset()

    def _after_exit(self, step: "weakref.ref[_Step]") -> None:
        """Note that a step is over, and restore the rates that an exception has left in place."""
        self._running = [each for each in self._running if each is not step]
        if not self._running:
            self._events.restore_rates(False)


class _Step(dict):
    """Keyword arguments of a step, which live as long as the step runs, even if it fails.

    torch keeps what a hook before the step has returned in a local variable of the function that
    runs the step.
    """

    def __init__(self, arguments: dict, optimizer: Optimizer) -> None:
        super().__init__(arguments)
        self.optimizer = optimizer


class _IdleWatch:
    """Warns once if gradients keep coming without an update.

    That happens if the optimizer has been built anew, or trains by a method without hooks.
    """

    def __init__(self, optimizer: str) -> None:
        self._optimizer, self._warned = optimizer, False
        self.reset()

    def reset(self) -> None:
        """There has been an update."""
        self._version: int | None = None
        self._changes, self._renewals = 0, 0
        self._gradient: Callable[[], Tensor | None] = lambda: None

    def on_gradient(self, parameter: nn.Parameter) -> None:
        """Count changes of a weight and new gradients, which accumulation does not make."""
        if self._warned:
            return
        if parameter._version != self._version:
            self._changes += self._version is not None
            self._version = parameter._version
        if self._gradient() is not parameter.grad:
            self._gradient, self._renewals = weakref.ref(parameter.grad), self._renewals + 1
        if self._changes >= 3 or self._renewals >= 30:
            self._warned = True
            warnings.warn(
                f"gradients keep coming, but this {self._optimizer} has made no update, so the "
                "sparsity schedule stands still; if another optimizer trains the model, detach() "
                "this Sniper and attach one to that optimizer",
                stacklevel=2,
            )


def _may_change_weights(optimizer: Optimizer) -> bool:
    """Whether there are gradients, and anything but zeros among gradients and learning rates.

    torch.distributed.checkpoint steps with zeros in order to create an optimizer's states.
    """
    groups = optimizer.param_groups
    gradients = (p.grad for group in groups for p in group["params"] if p.grad is not None)
    first = next(gradients, None)
    if first is None:
        return False
    rates = [group.get("lr") for group in groups]
    if any(r is None or torch.is_tensor(r) and not r.is_cpu or float(r) != 0 for r in rates):
        return True
    return any(gradient.any() for gradient in (first, *gradients))


def _found_infinity(optimizer: Optimizer) -> bool:
    """Whether a `GradScaler` has told a fused optimizer to skip this step.

    Reading the answer waits for the device, so a `found_inf` that comes without a scaler, from a
    loop that does not want to wait, is not read. Such a step counts as an update.
    """
    if not hasattr(optimizer, "grad_scale"):
        return False
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
