"""Typed sections of the configuration, and the check that tells everything that is wrong with one.

conf/ holds the values and says what they mean; the sections say which values are allowed.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic import WrapValidator as Wrap

from pipeline.errors import RecipeError

Kind = TypeVar("Kind")
Schema = dict[str, Any]
AsGiven = Wrap(lambda value, check: (check(value), value)[1])
"""Keeps a whole number whole: 71 and 71.0 have different fingerprints."""
Whole = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(allow_inf_nan=False), AsGiven]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AsGiven]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), AsGiven]
Share = Annotated[float, Field(ge=0, le=1), AsGiven]
"""A fraction that may be 0 or 1."""
Fraction = Annotated[float, Field(gt=0, lt=1), AsGiven]
Range = Annotated[list[NonNegative], Field(min_length=2, max_length=2)]
"""The lowest and the highest value."""
Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A text, which may look like a number."""


class Section(BaseModel):
    """Settings of one group of conf/. Unknown settings and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    def plain(self) -> dict[str, Any]:
        """The settings as they were given, in plain types; this is what a fingerprint is of."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def added(neutral: Any) -> Any:
    """Declare a setting that was added when there were results already.

    Its neutral value stands for what was done before, and takes no part in fingerprints, so that
    a new setting outdates no result. Never change a neutral value.
    """
    return Field(neutral, exclude_if=lambda value: value == neutral)


class Target(Section):
    """Something that is instantiated: the dotted name of a class or function, and its arguments."""

    model_config = ConfigDict(extra="allow")
    target: str = Field(alias="_target_")

    def make(self, setting: str, *arguments: Any) -> Any:
        """Call the target with these arguments and those of the section.

        Raises:
            RecipeError: it cannot be imported or does not take these arguments; names `setting`.
        """
        from hydra.errors import InstantiationException
        from hydra.utils import instantiate

        try:
            return instantiate(self.plain(), *arguments, _convert_="all")
        except InstantiationException as error:
            cause = " ".join(str(error.__cause__ or error).split())
            raise RecipeError(f"{setting}._target_={self.target}: {cause}") from error


class WrongSettings(RecipeError):
    """All wrong settings of a configuration, each with what is allowed."""

    def __init__(self, problems: Sequence[str]):
        self.problems = list(dict.fromkeys(problems))
        count = len(self.problems)
        several = [f"{count} settings are wrong:", *(f"  {each}" for each in self.problems)]
        super().__init__(self.problems[0] if count == 1 else "\n".join(several))


def read_settings(kind: type[Kind], config: DictConfig) -> Kind:
    """Check a composed configuration.

    Raises:
        WrongSettings: names all settings that are missing, unknown or not allowed.
    """
    if missing := list(_missing(OmegaConf.to_container(config))):
        raise WrongSettings([f"{name}: give a value, since it has no default" for name in missing])
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise WrongSettings([f"{error.full_key}: {error.msg.partition(chr(10))[0]}"]) from None
    return checked(kind, values)


def _missing(values: Any, name: str = "") -> Iterator[str]:
    """The dotted names of what has to be given."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _missing(value, f"{name}.{key}" if name else str(key))
    elif values == "???":
        yield name


def checked(kind: type[Kind], values: Any) -> Kind:
    """Make a section, or a union of sections, of plain values; raises like `read_settings`."""
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        schema = adapter.json_schema()
        raise WrongSettings([_problem(each, schema) for each in error.errors()]) from None


def section_of(kind: type[Kind], given: Kind | Mapping) -> Kind:
    """A section as it is, or a checked one of a mapping, such as a loaded file of conf/."""
    if OmegaConf.is_config(given):
        given = OmegaConf.to_container(given, resolve=True)
    return checked(kind, dict(given)) if isinstance(given, Mapping) else given


def meant(given: object, names: Iterator[str] | Sequence[str]) -> str:
    """A question that names what was probably meant, or nothing."""
    near = get_close_matches(str(given), [str(name) for name in names], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _problem(error: Mapping[str, Any], schema: Schema) -> str:
    """One line: the dotted name, what was given, what is allowed, and what was probably meant."""
    names, parent, found = _find(error["loc"], schema)
    name, given = ".".join(names), _shown(error["input"])
    if error["type"] == "extra_forbidden":
        near = meant(names[-1], parent.get("properties", {}))
        return f"{name}={given}: there is no setting of this name{near}"
    if error["type"] == "missing":
        return f"{name}: give {allowed(found, schema)}, since it has no default"
    if error["type"] == "value_error":
        return f"{name}: {error['ctx']['error']}"
    if error["type"].startswith("union_tag"):
        kind = found["discriminator"]["propertyName"]
        options = error["ctx"].get("expected_tags", "").replace("'", "").split(", ")
        name, found = f"{name}.{kind}".lstrip("."), {"enum": options}
        given = error["ctx"].get("tag", "null")
    advice = allowed(found, schema)
    near = meant(given, found.get("enum", ()))
    verb = "choose" if advice.startswith("one of") else "give"
    return f"{name}={given}: {verb} {advice}{near}"


def _shown(value: Any) -> str:
    """A value as an override gives it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _find(location: Sequence[str | int], root: Schema) -> tuple[list[str], Schema, Schema]:
    """The dotted name of a place, and the schemas of the section around it and of itself."""
    names, parent, schema = [], root, root
    for part in location:
        schema = _section(schema, root)
        if "discriminator" in schema:  # a place in a union begins with the kind of section
            schema = {"$ref": schema["discriminator"]["mapping"][part]}
        elif "properties" in schema or "items" in schema or "additionalProperties" in schema:
            names.append(str(part))
            inside = schema.get("items", schema.get("additionalProperties"))
            inside = inside if isinstance(inside, dict) else {}
            parent, schema = schema, schema.get("properties", {}).get(part, inside)
    return names, parent, _section(schema, root)


def _section(schema: Schema, root: Schema) -> Schema:
    """A schema without references, and without null beside a section."""
    while "$ref" in schema or "anyOf" in schema:
        if "anyOf" in schema:
            sections = [each for each in schema["anyOf"] if each.keys() & {"$ref", "oneOf"}]
            if not sections:
                return schema
            schema = sections[0]
        else:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


LIMITS = {
    "minimum": "of {:g} or more",
    "exclusiveMinimum": "above {:g}",
    "maximum": "up to {:g}",
    "exclusiveMaximum": "below {:g}",
}
WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "object": "a section of settings",
    "null": "null",
}


def allowed(schema: Schema, root: Schema) -> str:
    """The values that a schema allows, in words."""
    if "anyOf" in schema:
        return " or ".join(allowed(each, root) for each in schema["anyOf"])
    schema = _section(schema, root)
    if options := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return f"one of {', '.join(dict.fromkeys(map(str, options)))}"
    if schema.get("type") == "array":
        least, each = schema.get("minItems"), allowed(schema["items"], root)
        least = f"{least} or more" if least and least != schema.get("maxItems") else least
        return f"a list of {least}, each {each}" if least else f"a list, each {each}"
    limits = [text.format(schema[name]) for name, text in LIMITS.items() if name in schema]
    return " ".join([WORDS[schema.get("type", "object")], " and ".join(limits)]).strip()


def allowed_values(name: str, root: Schema) -> str:
    """The values of the setting with this dotted name, in words; of every kind of its section."""
    places = [root]
    for part in name.split("."):
        sections = [each for place in places for each in _kinds(place, root)]
        places = [each["properties"][part] for each in sections if part in each["properties"]]
    return " or ".join(dict.fromkeys(allowed(each, root) for each in places)) or "anything"


def _kinds(schema: Schema, root: Schema) -> list[Schema]:
    """The sections that a schema allows."""
    schema = _section(schema, root)
    if "discriminator" in schema:
        mapped = schema["discriminator"]["mapping"].values()
        return [_section({"$ref": each}, root) for each in mapped]
    return [schema] if "properties" in schema else []
