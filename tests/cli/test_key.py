"""Keys: made, shown, imported, never written over."""

import json
import stat

from narbor import config, wiring
from narbor.names.keys import PublicKey, SecretKey
from tests.cli.program import Program


def test_a_new_key_signs_and_is_believed(narbor: Program) -> None:
    """Both halves are written; the secret one is nobody else's to read."""
    done = narbor("key", "new", "farm-1")
    assert done.returncode == 0
    public = PublicKey.parse(done.stdout)
    secret = narbor.home / "keys" / "farm-1.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert SecretKey.parse(secret.read_text()).public == public
    found = config.load(narbor.home, None, {})
    assert [key.public for key in wiring.signing_keys(found)] == [public]
    assert public in wiring.keyring(found, (), ()).keys


def test_a_key_is_never_written_over(narbor: Program) -> None:
    """A second key of the name is refused, and the first is as it was."""
    first = narbor("key", "new", "farm-1").stdout
    again = narbor("key", "new", "farm-1")
    assert again.returncode == 2
    assert "farm-1.secret" in again.stderr
    assert narbor("key", "show").stdout == first


def test_import_takes_secret_and_public_keys(narbor: Program) -> None:
    """From a file or as text; a public key does not sign."""
    ours, theirs = SecretKey.generate("ours"), SecretKey.generate("theirs")
    file = narbor.home.parent / "key"
    file.write_text(f"{ours}\n")
    assert narbor("key", "import", str(file)).returncode == 0
    assert narbor("key", "import", str(theirs.public)).returncode == 0
    lines = narbor("--json", "key", "show").stdout.splitlines()
    shown = {each["name"]: (each["public"], each["signs"]) for each in map(json.loads, lines)}
    assert shown == {"ours": (str(ours.public), True), "theirs": (str(theirs.public), False)}


def test_no_key_is_2_and_no_secret_is_shown(narbor: Program) -> None:
    """What is no key is refused without quoting what may be a secret."""
    for text in ("a b", "../up", "", "x:AAAA", "nofile"):
        verb = "import" if ":" in text or text == "nofile" else "new"
        done = narbor("key", verb, text)
        assert done.returncode == 2, text
        assert "AAAA" not in done.stderr
        assert "Traceback" not in done.stderr
