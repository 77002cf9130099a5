"""How F0 is estimated."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.settings import AsGiven, Count, Section

Hertz = Annotated[float, Field(ge=1, allow_inf_nan=False), AsGiven]


class F0Settings(Section):
    """`f0` of conf/features/."""

    method: Literal["dio", "harvest"]
    floor: Hertz
    ceiling: Hertz
    decimation: Count

    @model_validator(mode="after")
    def _ordered(self) -> "F0Settings":
        if self.floor >= self.ceiling:
            raise ValueError(f"floor={self.floor} is not below its ceiling, {self.ceiling}")
        return self
