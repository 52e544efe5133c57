"""Instructions that models are asked, and the content of scenes that their answers speak of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .areas import FAMILIES
from .errors import PhantomError

DEFAULT = Path(__file__).with_name("instructions.yml")


@dataclass(frozen=True)
class Instructions:
    """Contents of a file of instructions.

    Attributes
    ----------
    texts : mapping of id to str
    speaks_of : mapping of content family to tuple of ids
        The most specific instruction first; empty for families of which no answer speaks.
    prompts : mapping of checkpoint to str
        With ``{instruction}`` where the text goes.
    """

    texts: Mapping[str, str]
    speaks_of: Mapping[str, tuple[str, ...]]
    prompts: Mapping[str, str]


def read_instructions(path: str | Path | None = None) -> Instructions:
    """Read a file of instructions, by default that of the package, ``instructions.yml``.

    Parameters
    ----------
    path : path, optional

    Raises
    ------
    PhantomError
        With the key that is wrong.
    """
    path = Path(path or DEFAULT)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PhantomError(
            f"instructions {path} cannot be read: {error.strerror}; name a YAML file"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise PhantomError(
            f"instructions {path} are not valid YAML: {' '.join(str(error).split())}"
        ) from None
    values = {"speaks_of": {}, "prompts": {}} | values if isinstance(values, dict) else {}
    parts = ("instructions", "speaks_of", "prompts")
    if set(values) != set(parts) or not all(isinstance(values[part], dict) for part in parts):
        raise PhantomError(f"instructions {path} need mappings named {', '.join(parts)}; see {DEFAULT}")
    texts, speaks_of = values["instructions"], values["speaks_of"]
    for family, ids in speaks_of.items():
        if family not in FAMILIES:
            raise PhantomError(
                f"instructions {path}: no content is called {family!r}; known: {', '.join(FAMILIES)}"
            )
        if not isinstance(ids, list) or set(map(str, ids)) - set(map(str, texts)):
            raise PhantomError(f"instructions {path}: {family} must list ids of instructions, but is {ids}")
    families = {family: tuple(map(str, speaks_of.get(family, ()))) for family in FAMILIES}
    return Instructions({str(k): str(v) for k, v in texts.items()}, families, values["prompts"])
