"""Who may push: files beside the configuration, or words of the environment."""

from pathlib import Path

import pytest

from narbor import config
from narbor.config import BadConfig


def test_files_lie_beside_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "narbor.toml"
    file.write_text('[serve]\npush-tokens = { laptop = "keys/a", desk = "/etc/b" }\n')
    said = config.load(tmp_path, file, {}).serve.push_tokens
    assert said == {"laptop": tmp_path / "keys/a", "desk": Path("/etc/b")}


def test_the_environment_wins(tmp_path: Path) -> None:
    environment = {"NARBOR_SERVE_PUSH_TOKENS": "laptop=/a desk=/b=c"}
    said = config.load(tmp_path, None, environment).serve.push_tokens
    assert said == {"laptop": Path("/a"), "desk": Path("/b=c")}


@pytest.mark.parametrize(
    "text", ['{ "../x" = "a" }', '{ "a/b" = "a" }', '{ "" = "a" }', "{ a = 1 }", '["a"]']
)
def test_what_names_no_sender(tmp_path: Path, text: str) -> None:
    file = tmp_path / "narbor.toml"
    file.write_text(f"[serve]\npush-tokens = {text}\n")
    with pytest.raises(BadConfig, match="push-tokens"):
        config.load(tmp_path, file, {})
