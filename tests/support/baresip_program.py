"""Debian's baresip, a softphone on the command line: its configuration for a test."""

from pathlib import Path

import pytest

from callerside.addresses import in_uri, joined
from callerside.audio import to_samples, tone
from callerside.audio_files import write_wav

RATE_HZ = 8_000

_CONFIG = """\
poll_method epoll
sip_listen {listen}
net_interface {host}
audio_player aufile,{folder}/heard.wav
audio_source aufile,{folder}/tone.wav
audio_alert aufile,/dev/null
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
module_path {modules}
module stdio.so
module {codec}.so
module aufile.so
module sndfile.so
snd_path {folder}
module_tmp account.so
module_app menu.so
module_app contact.so
"""


def _modules() -> str:
    for folder in (Path("/usr/lib/baresip/modules"), Path("/usr/local/lib/baresip/modules")):
        if folder.is_dir():
            return str(folder)
    pytest.skip("baresip's modules are not where they are expected")


def write_baresip_config(
    folder: Path,
    codec: str,
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    more: str = "",
    account: str = "",
) -> None:
    """Its configuration in `folder`: it says tone.wav there, a tone, and keeps heard.wav.

    `more`: further lines of it. `account`: another than that of plain calls.
    """
    listen = joined(host, port)
    config = _CONFIG.format(
        folder=folder, listen=listen, host=host, modules=_modules(), codec=codec
    )
    (folder / "config").write_text(config + more)
    (folder / "accounts").write_text(f"{account or f'<sip:bare@{in_uri(host)}>;regint=0'}\n")
    (folder / "contacts").write_text("")
    write_wav(folder / "tone.wav", to_samples(tone(1_000, 20_000, RATE_HZ)), RATE_HZ)
