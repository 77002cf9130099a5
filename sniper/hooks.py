"""The hooks by which a `Sniper` follows gradients and updates, one `Sniper` to an optimizer."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# By the id of an optimizer or parameter, which stays valid while its UpdateHooks keep it alive.
_ATTACHED: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class UpdateHooks:
    """Hooks on an optimizer, on those that it wraps, and on parameters; a subclass acts on them.

    Each update is reported once. A step within another, as when a subclass calls the step of its
    base class, is a part of it. A step that changes nothing is no update: without any gradient,
    with gradients and rates that are all zero, or skipped by a fused optimizer because a
    `GradScaler` has found gradients that are not finite.
    """

    def __init__(self, chain: Sequence[Optimizer]) -> None:
        """
        Args:
            chain: an optimizer and those that it wraps, outermost first.
        """
        self._chain = chain
        self._hooked: list[Any] = []
        self._handles: list[Any] = []
        self._running: list[weakref.ref[_Step]] = []  # outermost first
        self._has_gradients = False
        self._in_closure = False
        self._idle = _IdleWatch(type(chain[0]).__name__)

    # ---- what a subclass does

    def _between_steps(self) -> None:
        """Called when gradients arrive, except inside a step's closure."""

    def _before_update(self) -> None:
        """Called when all gradients of an update have arrived."""

    def _apply_rates(self) -> None:
        """Called right before the update."""

    def _restore_rates(self, *_: Any, after_update: bool = False, failed: bool = False) -> None:
        """Called before anyone else may read the learning rates, also after a failed step."""

    def _after_step(self, is_update: bool) -> None:
        """Called after the optimizer's step."""

    def _on_state_loaded(self, *_: Any) -> None:
        """Called after the optimizer has loaded a state."""

    # ---- the hooks themselves

    def _require_free(self, parameters: Iterable[nn.Parameter]) -> None:
        """Raise ValueError if another `Sniper` is attached to an optimizer or a parameter."""
        objects = [*self._chain, *parameters]
        if any(_ATTACHED.get(id(each), self) is not self for each in objects):
            raise ValueError(
                "another Sniper is attached to this model or its optimizer: call its detach(), or "
                "build both anew"
            )

    def _place_hooks(
        self, on_gradient: Sequence[tuple[nn.Parameter, Callable[[Tensor], None]]]
    ) -> None:
        """Place the hooks.

        Args:
            on_gradient: parameters, and what is called after each accumulation of their gradients.

        Raises:
            ValueError: another `Sniper` is attached, or the optimizer has no hooks.
        """
        parameters = [parameter for parameter, _ in on_gradient]
        self._require_free(parameters)
        self._hooked = [*self._chain, *parameters]
        _ATTACHED.update({id(each): self for each in self._hooked})
        # An optimizer's step may be compiled, but not its hooks.
        before_step, after_step = map(torch.compiler.disable, (self._enter_step, self._leave_step))
        for optimizer in self._chain:
            # Some wrappers do not call Optimizer.__init__, so they have no hooks, or not all.
            with suppress(AttributeError) if optimizer is not self._chain[-1] else nullcontext():
                for register, hook in (
                    (optimizer.register_step_pre_hook, before_step),
                    (optimizer.register_step_post_hook, after_step),
                    (optimizer.register_state_dict_pre_hook, self._restore_rates),
                    (optimizer.register_load_state_dict_pre_hook, self._restore_rates),
                    (optimizer.register_load_state_dict_post_hook, self._on_state_loaded),
                ):
                    self._handles.append(register(hook))
        held = (p for group in self._chain[0].param_groups for p in group["params"])
        watched = next((p for p in (*parameters, *held) if p.requires_grad), None)
        for parameter, hook in (*on_gradient, (watched, self._on_backward)):
            if parameter is not None:
                frozen = not parameter.requires_grad
                parameter.requires_grad_(True)  # or torch refuses the hook of a weight to thaw
                self._handles.append(parameter.register_post_accumulate_grad_hook(hook))
                parameter.requires_grad_(not frozen)

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for each in self._hooked:
            del _ATTACHED[id(each)]
        self._hooked = []

    def _on_backward(self, parameter: nn.Parameter) -> None:
        """No step is running when gradients come outside of a closure."""
        if not self._in_closure:
            self._running = []
            self._idle.on_gradient(parameter)
            self._between_steps()

    # ---- steps

    def _enter_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        step = _Step(kwargs, optimizer)
        outer = [each() for each in self._running]
        self._running.append(weakref.ref(step, self._after_exit))
        if any(each is not None and each.optimizer is optimizer for each in outer):
            return args, step
        if not outer:
            self._has_gradients = False
        self._restore_rates()
        if step.get("closure") is not None:
            step["closure"] = self._wrapped(optimizer, step["closure"])
        elif len(args) > 1 and args[1] is not None:
            args = (args[0], self._wrapped(optimizer, args[1]), *args[2:])
        else:
            self._enter_update(optimizer)
        return args, step

    def _wrapped(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, which computes gradients inside the step, followed by `_before_update`."""

        def wrapped() -> Any:
            self._restore_rates()
            self._in_closure = True
            try:
                result = closure()
            finally:
                self._in_closure = False
            self._enter_update(optimizer)
            return result

        return wrapped

    def _enter_update(self, optimizer: Optimizer) -> None:
        self._before_update()
        self._has_gradients = self._has_gradients or _may_change_weights(optimizer)
        if optimizer is self._chain[-1]:
            self._apply_rates()

    def _leave_step(self, optimizer: Optimizer, *_: Any) -> None:
        outer = [each() for each in self._running[:-1]]
        if any(each is not None and each.optimizer is optimizer for each in outer):
            return
        self._restore_rates(after_update=True)
        if not outer:
            skipped = any(_found_infinity(each) for each in self._chain)
            self._after_step(self._has_gradients and not skipped)
            self._idle.reset()

    def _after_exit(self, step: "weakref.ref[_Step]") -> None:
        """Note that a step is over, and restore the rates that an exception has left in place."""
        self._running = [each for each in self._running if each is not step]
        if not self._running:
            self._restore_rates(failed=True)


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
