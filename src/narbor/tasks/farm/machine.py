"""This machine as the source of a small software world: its own programs, libraries and texts.

What is found depends on the machine; Python itself and the packages beside narbor are always there.
"""

import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from narbor.errors import Unavailable
from narbor.tasks.farm import elf
from narbor.tasks.farm.recipes import Copied, Linked, Part, Pointer, Recipe, Script, Written

LIBC: Final = "libc"
LARGEST_FILE: Final = 8 << 20
PROGRAM_BYTES: Final = 24_000_000
ALL_BYTES: Final = 66_000_000
ALL_FILES: Final = 3_400

_LIBC_FAMILY: Final = re.compile(
    r"(ld-|libc[.-]|libm[.-]|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl|libnss_)"
)
_STORE_NAME: Final = re.compile(r"[^0-9a-zA-Z+._?=-]+")
_SKIPPED: Final = {"__pycache__", "test", "tests", "site-packages", "dist-packages", "idlelib"}
_FIRST: Final = (
    "sh bash dash perl git ssh gpg curl wget sed grep find gawk mawk tar gzip bzip2 xz zstd less"
    " make openssl sqlite3 rsync jq nano vim.basic vim.tiny strace diff patch file systemctl"
)
_COREUTILS: Final = (
    "cat chmod chown cp cut date dd df du echo env head id join ln ls mkdir mv nl od paste pwd"
    " readlink rm seq sha256sum sleep sort split stat tail tee touch tr true uname uniq wc"
)
_INTERPRETERS: Final = {"sh": "sh", "dash": "sh", "bash": "bash", "perl": "perl"}


class NothingToShow(Unavailable):
    """This machine has too little of what a farm is made of."""


def harvest() -> tuple[Recipe, ...]:
    """Return recipes out of this machine's files, what is needed before what needs it.

    Raises NothingToShow on a machine without a dynamic loader.
    """
    machine = _Machine()
    machine.python()
    machine.programs()
    machine.scripts()
    machine.distributions()
    machine.texts()
    machine.environment()
    return tuple(machine.recipes.values())


class _Machine:
    """What has been found so far."""

    def __init__(self) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.size = 0
        self.files = 0
        self._libraries: dict[Path, str | None] = {}
        self._programs: dict[str, str] = {}
        self.loader = _loader()
        self._default = _folders(self.loader)
        self._libc()

    def keep(self, name: str, parts: dict[str, Part], needs: Iterable[str] = ()) -> str:
        """Add a recipe and count what it holds; return its name."""
        self.recipes[name] = Recipe(name, tuple(parts.items()), tuple(dict.fromkeys(needs)))
        for part in parts.values():
            if isinstance(part, Copied | Linked | Script):
                self.size += part.source.stat().st_size
                self.files += 1
        return name

    def _libc(self) -> None:
        """Make the bottom of the world: the loader and the C library."""
        real = self.loader.resolve()
        parts: dict[str, Part] = {
            f"lib/{self.loader.name}": Copied(real, executable=True),
            "share/libc/state": Written("{note}\n"),
        }
        for path in sorted(real.parent.iterdir()):
            known = _LIBC_FAMILY.match(path.name) and ".so" in path.name
            if known and path.name != self.loader.name and elf.is_elf(path.resolve()):
                parts[f"lib/{path.name}"] = Copied(path.resolve(), executable=True)
        family, version = platform.libc_ver()
        name = _name(f"{family or LIBC}-{version}")
        self._libraries[real] = name
        self.libc = self.keep(name, parts)

    def library(self, soname: str, wanted_by: Path) -> str | None:
        """Return the recipe that has a library, made if need be; None if it cannot be found."""
        if _LIBC_FAMILY.match(soname):
            return self.libc
        folders = (*elf.run_path(wanted_by), *self._default)
        found = next((each / soname for each in folders if elf.is_elf(each / soname)), None)
        if found is None:
            return None
        real = found.resolve()
        if real not in self._libraries:
            self._libraries[real] = None  # while it is looked into: a circle ends here
            self._libraries[real] = self._library(soname, real)
        return self._libraries[real]

    def _library(self, soname: str, real: Path) -> str:
        stem, _, short = soname.partition(".so")
        version = real.name.partition(".so.")[2] or short.strip(".") or "0"
        needs = self.needs(real)
        parts: dict[str, Part] = {f"lib/{real.name}": self._linked(real, needs)}
        for alias in {soname, f"{stem}.so"} - {real.name}:
            parts[f"lib/{alias}"] = Pointer(None, real.name)
        return self.keep(_name(f"{stem}-{version}"), parts, needs)

    def needs(self, path: Path) -> tuple[str, ...]:
        """Return the recipes whose libraries a file needs, the C library first."""
        wanted = (self.library(name, path) for name in elf.needed(path) or ())
        found = dict.fromkeys(name for name in wanted if name)
        return tuple(sorted(found, key=lambda name: name != self.libc))

    def _linked(self, path: Path, needs: tuple[str, ...]) -> Part:
        return Linked(path, needs) if needs else Copied(path, executable=True)

    def _program(self, path: Path) -> tuple[Part, tuple[str, ...]] | None:
        """Return a program with what it needs; None for one that this loader does not start."""
        loader = elf.interpreter(path)
        if loader is None or Path(loader).name != self.loader.name:
            return None
        needs = (self.libc, *self.needs(path))
        needs = tuple(dict.fromkeys(needs))
        return Linked(path, needs, loader=f"lib/{self.loader.name}"), needs

    def python(self) -> None:
        """Take this Python: the program and its standard library."""
        real = Path(sys.executable).resolve()
        version = platform.python_version()
        short = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        made = self._program(real)
        if made is None:
            raise NothingToShow(f"{real} is not a program that {self.loader} starts")
        program, wanted = made
        parts: dict[str, Part] = {
            f"bin/{short}": program,
            "bin/python3": Pointer(None, short),
        }
        needs = list(wanted)
        library = Path(sysconfig.get_path("stdlib"))
        for path in _walk(library):
            part, wanted = self.file(path)
            parts[f"lib/{short}/{path.relative_to(library)}"] = part
            needs += wanted
        self._programs["python3"] = self.keep(f"python3-{_name(version)}", parts, needs)

    def file(self, path: Path) -> tuple[Part, tuple[str, ...]]:
        """Return one file as a part: a library is linked anew, any other is copied."""
        if ".so" in path.name and elf.is_elf(path):
            needs = self.needs(path)
            return self._linked(path, needs), needs
        return Copied(path, os.access(path, os.X_OK)), ()

    def programs(self) -> None:
        """Take programs: those that everybody knows, then large ones while there is room."""
        tools: dict[str, Part] = {}
        needs: list[str] = []
        for name in _COREUTILS.split():
            path = _on_path(name)
            made = self._program(path) if path and path.name == name else None
            if made:
                tools[f"bin/{name}"], wanted = made
                needs += wanted
        if tools:
            made_of = self.keep("coreutils", tools, needs)
            self._programs |= {Path(path).name: made_of for path in tools}
        room = self.size + PROGRAM_BYTES
        for name, path in _programs():
            if self.size < room and name not in self._programs:
                self._take(name, path)

    def _take(self, name: str, path: Path) -> None:
        made = self._program(path)
        recipe = _name(path.name)
        if made is None:
            return
        if recipe not in self.recipes:
            part, needs = made
            parts = {f"bin/{path.name}": part}
            if name != path.name:
                parts[f"bin/{name}"] = Pointer(None, path.name)
            self.keep(recipe, parts, needs)
        self._programs[name] = self._programs[path.name] = recipe

    def scripts(self) -> None:
        """Take scripts, in one item for each interpreter."""
        found: dict[str, dict[str, Part]] = {}
        for path in _in_bin():
            words = _shebang(path)
            program = Path(words).name if words else ""
            program = "python3" if program.startswith("python3") else program
            program = _INTERPRETERS.get(program, program)
            if program in self._programs:
                part = Script(path, self._programs[program], program)
                found.setdefault(program, {})[f"bin/{path.name}"] = part
        for program, parts in sorted(found.items()):
            name = self.keep(f"{program}-scripts", parts, [self._programs[program]])
            for path_in in parts:
                self._programs.setdefault(Path(path_in).name, name)

    def distributions(self) -> None:
        """Take the Python packages that are installed beside narbor, small ones first."""
        short = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        for _, name, files in sorted(_distributions()):
            if self.size >= ALL_BYTES and self.files >= ALL_FILES:
                return
            parts: dict[str, Part] = {}
            needs: list[str] = []
            for path_in, path in files:
                part, wanted = self.file(path)
                parts[f"lib/{short}/site-packages/{path_in}"] = part
                needs += wanted
            self.keep(f"{short}-{name}", parts, needs)

    def texts(self) -> None:
        """Take texts until there are enough files."""
        for folder in ("perl", "perl5", "zoneinfo", "doc", "man", "locale", "i18n", "vim"):
            parts: dict[str, Part] = {}
            base = Path("/usr/share", folder)
            for path in _walk(base) if base.is_dir() else ():
                if self.files + len(parts) >= ALL_FILES:
                    break
                parts[f"share/{folder}/{path.relative_to(base)}"] = Copied(path)
            if parts:
                self.keep(f"{folder}-files", parts)

    def environment(self) -> None:
        """Make the top: links to every program, and a script that sets the search path."""
        links = {f"bin/{name}": recipe for name, recipe in sorted(self._programs.items())}
        parts: dict[str, Part] = {path: Pointer(to, path) for path, to in links.items()}
        shell = next((name for name in ("bash", "sh", "dash") if name in self._programs), None)
        users = dict.fromkeys(links.values())
        if shell:
            users[self._programs[shell]] = None
            search = ":".join(f"{{{name}}}/bin" for name in users)
            head = f"#!{{{self._programs[shell]}}}/bin/{shell}\n"
            text = f'{head}export PATH="{search}"\nexec "$@"\n'
            parts["bin/with-environment"] = Written(text, executable=True)
        self.keep("demo-environment", parts, users)


def _loader() -> Path:
    """Return the loader that this Python names, or the shell if Python is static."""
    for program in (sys.executable, "/bin/sh", "/usr/bin/env"):
        found = elf.interpreter(Path(program).resolve())
        if found and Path(found).exists():
            return Path(found)
    raise NothingToShow("no dynamically linked program was found on this machine")


def _folders(loader: Path) -> tuple[Path, ...]:
    """Return where libraries lie when nobody says where."""
    machine = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    names = [loader.resolve().parent]
    for base in (Path("/usr/lib"), Path("/lib"), Path("/usr/lib64"), Path("/usr/local/lib")):
        names += [base / machine, base]
    return tuple(dict.fromkeys(name for name in names if name.is_dir()))


def _in_bin() -> Iterator[Path]:
    """Give the regular files of the folder of programs, by name."""
    for path in sorted(Path("/usr/bin").iterdir()) if Path("/usr/bin").is_dir() else ():
        if not path.is_symlink() and _plain(path):
            yield path


def _on_path(name: str) -> Path | None:
    found = shutil.which(name, path="/usr/bin:/bin")
    real = Path(found).resolve() if found else None
    return real if real and elf.is_elf(real) else None


def _programs() -> Iterator[tuple[str, Path]]:
    for name in _FIRST.split():
        path = _on_path(name)
        if path and path.stat().st_size <= LARGEST_FILE:
            yield name, path
    for path in sorted(_in_bin(), key=lambda path: (-path.stat().st_size, path.name)):
        if elf.is_elf(path):
            yield path.name, path


def _shebang(path: Path) -> str | None:
    """Return the interpreter of a script; None for what is none."""
    with path.open("rb") as file:
        first = file.readline(200)
    words = first[2:].split() if first.startswith(b"#!") else []
    if words and words[0].endswith(b"/env"):
        words = words[1:]
    return words[0].decode(errors="replace") if words else None


def _distributions() -> Iterator[tuple[int, str, tuple[tuple[str, Path], ...]]]:
    """Give size, name and files of the installed Python packages; compiled caches are left out."""
    for distribution in metadata.distributions():
        files = {}
        for entry in distribution.files or ():
            path = Path(str(entry.locate())).resolve()
            if not {"..", "__pycache__"}.intersection(entry.parts) and path.is_file():
                files[str(entry)] = path
        size = sum(path.stat().st_size for path in files.values())
        if files and all(map(_plain, files.values())):
            yield (
                size,
                f"{_name(distribution.name)}-{_name(distribution.version)}",
                (*files.items(),),
            )


def _walk(top: Path) -> Iterator[Path]:
    """Give the files below `top` that can be read and are not too large; links are left out."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(folder, name)
            if not path.is_symlink() and not name.endswith((".a", ".pyc")) and _plain(path):
                yield path


def _plain(path: Path) -> bool:
    """Tell whether this is a readable file of ordinary size whose name is text."""
    try:
        path.name.encode()
        return path.is_file() and path.stat().st_size <= LARGEST_FILE and os.access(path, os.R_OK)
    except (OSError, UnicodeEncodeError):
        return False


def _name(text: str) -> str:
    """Spell `text` as part of a store path's name."""
    return _STORE_NAME.sub("-", text).strip(".-") or "unnamed"
