"""The size of the house: rooms, functions, files, lines, and one home for every name."""

import ast
import re
from collections import defaultdict
from pathlib import Path

from benchmarks.house import by_the_pieces, crossed

SOURCE = Path(__file__).parent.parent / "src" / "sagan"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in FILES}

MOST_ROOMS = 19
LONGEST_FUNCTION = 50
LONGEST_FILE = 350
LONGEST_SCRIPT = 300
MOST_LINES = 41_460

SCRIPTS = {
    path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(SOURCE.rglob("*.js"))
}
FRONT = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted((SOURCE / "studio" / "front").iterdir())
}
TESTS = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))

# Where a function of JavaScript begins, as it is written here: its end is indented alike.
BEGINNING = re.compile(
    r"^( *)(?:export )?(?:"
    r"(?:async )?function (?P<function>\w+)"
    r"|(?:const|let) (?P<arrow>\w+) = (?:async )?\(?[^()]*\)? => \{$"
    r"|(?:async |get |static )*(?P<method>(?!if|for|while|switch|catch)#?\w+)\(.*\) \{$)"
)
# The page's policy forbids these; a script may still set element.style.left and the like.
FORBIDDEN = re.compile(
    r"""\bstyle=["'`]|\bon[a-z]+=["'`]|"style"|\bstyle:|<style|javascript:|\beval\(|new Function"""
)

# Each is the mirror image of the other: a command and the function that it calls.
MIRRORS = {
    "train": {"cli/training.py", "training/run.py"},
}


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def top_level_names(tree):
    """Functions, classes and assigned names of a module; not imports, not __all__ and the like."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name) and not name.id.startswith("__"):
                        yield name.id


def require_none(offenders):
    assert not offenders, "\n".join(f"{name} = {what}" for name, what in offenders.items())


def test_there_are_few_rooms():
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    assert len(rooms - {"__init__", "__main__"}) <= MOST_ROOMS


def test_functions_fit_a_screen():
    lengths = {
        f"{place}: {node.name}": node.end_lineno - node.lineno + 1
        for place, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    require_none({name: n for name, n in lengths.items() if n > LONGEST_FUNCTION})


def test_files_are_read_in_one_sitting():
    written = [
        path for path in SOURCE.rglob("*.*") if path.suffix in (".py", ".html", ".css", ".js")
    ]
    lengths = {path.relative_to(SOURCE).as_posix(): lines_of(path) for path in written}
    require_none({name: n for name, n in lengths.items() if n > LONGEST_FILE})


def test_the_house_does_not_grow():
    assert sum(map(lines_of, FILES)) <= MOST_LINES


def test_a_name_has_one_home():
    homes = defaultdict(set)
    for place, tree in TREES.items():
        for name in top_level_names(tree):
            homes[name].add(place)
    several = {name: places for name, places in homes.items() if len(places) > 1}
    require_none({name: sorted(p) for name, p in several.items() if MIRRORS.get(name) != p})
    assert several.keys() >= MIRRORS.keys()  # what is listed is so still


def test_a_picture_crosses_no_room_above_training():
    """From a folder of pictures to a PNG, by the pieces: in no room that only looks at models."""
    rooms = {
        path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in crossed(by_the_pieces)
    }
    below = {"config", "system", "nn", "losses", "data", "images", "runs", "sampling", "training"}
    assert rooms <= below | {"errors", "__init__"}
    assert rooms >= {"data", "nn", "losses", "training", "runs", "sampling", "images"}


def functions_of(script):
    """Name and number of lines of every function."""
    lines = script.splitlines()
    for begin, line in enumerate(lines):
        if found := BEGINNING.match(line):
            name = found["function"] or found["arrow"] or found["method"]
            end = next(n for n in range(begin, len(lines)) if lines[n].startswith(f"{found[1]}}}"))
            yield name, end - begin + 1


def exported(module):
    return set(re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", module, re.M))


def imported(module):
    """The names that a module imports, by the module that has them."""
    found = re.findall(r'^import \{([^}]+)\} from "studio/([\w-]+\.js)";$', module, re.M)
    return {name: {part.strip() for part in names.split(",")} for names, name in found}


def test_functions_of_scripts_are_found():
    script = "class A {\n  get #b() {\n    if (c) {\n    }\n  }\n}\nconst d = (e) => {\n};\n"
    assert list(functions_of(script)) == [("#b", 4), ("d", 2)]
    assert sum(len(list(functions_of(script))) for script in SCRIPTS.values()) > 150


def test_scripts_are_as_short():
    lengths = {place: len(script.splitlines()) for place, script in SCRIPTS.items()}
    require_none({place: n for place, n in lengths.items() if n > LONGEST_SCRIPT})
    functions = {
        f"{place}: {name}": length
        for place, script in SCRIPTS.items()
        for name, length in functions_of(script)
    }
    require_none({name: n for name, n in functions.items() if n > LONGEST_FUNCTION})


def test_modules_of_the_page_import_what_others_export():
    modules = {name: text for name, text in FRONT.items() if name.endswith(".js")}
    home = {"back.js": exported(modules["server.js"]) & exported(modules["local.js"])}
    home |= {name: exported(text) for name, text in modules.items()}
    used = defaultdict(set)
    for name, text in modules.items():
        for other, names in imported(text).items():
            assert names <= home.get(other, set()), f"{name} imports {names} of {other}"
            used[other] |= names
            body = re.sub(r"^import .*$", "", text, flags=re.M)
            require_none({n: name for n in names if not re.search(rf"\b{n}\b", body)})
    used["server.js"] = used["local.js"] = used["back.js"]
    unused = {
        f"{place}: {name}": "nobody imports it"
        for place, names in home.items()
        for name in names - used[place]
        if not re.search(rf"\b{name}\b.*studio/{place}", TESTS)
    }
    require_none(unused)
    everything = "".join(FRONT.values())
    begun = set(re.findall(r'(?:import|resolve\()\s*"studio/([\w-]+\.js)"', everything))
    assert begun == {"main.js", "worker.js"}
    assert set(modules) == begun | set(home) - {"back.js"}
    assert {name for name in modules if used[name]} == set(modules) - begun


def test_types_that_modules_name_are_there():
    named = [
        (name, other, kind)
        for name, text in FRONT.items()
        for other, kind in re.findall(r'import\("\./([\w-]+\.js)"\)\.(\w+)', text)
    ]
    assert len(named) > 10
    for name, other, kind in named:
        is_there = re.search(rf"@typedef .*\}} {kind}\b", FRONT[other])
        assert is_there or kind in exported(FRONT[other]), f"{name} names {kind} of {other}"


def test_a_key_is_one_shortcut():
    keys = re.findall(r'\bshortcut\("([^"]+)"', "".join(FRONT.values()))
    assert len(keys) > 10
    assert len(keys) == len(set(keys))
    assert not set(keys) & set("123456789")  # which choose classes


def test_the_page_has_nothing_that_its_policy_forbids():
    assert FORBIDDEN.search('<p style="color: red">')
    assert FORBIDDEN.search("<p onclick='go()'>")
    found = {
        name: FORBIDDEN.search(text) for name, text in FRONT.items() if not name.endswith(".css")
    }
    require_none({name: match[0] for name, match in found.items() if match})
