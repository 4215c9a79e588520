"""What all settings have in common: models that are frozen and refuse what they do not know."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Milliseconds = Annotated[int, Field(ge=0, le=24 * 3600 * 1000)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _sip_uri(text: str) -> str:
    if not re.fullmatch(r"(sips?|tel):[^\s<>]+", text):
        raise ValueError(f"{text!r} is no URI; expected one such as sip:desk@pbx.example")
    return text


SipUri = Annotated[str, AfterValidator(_sip_uri)]
UserPath = Annotated[
    Path,
    BeforeValidator(lambda value: Path(value).expanduser() if isinstance(value, str) else value),
]


class Model(BaseModel):
    """The base of every model of settings."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
