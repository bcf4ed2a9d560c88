"""The borders of the architecture: what each folder may include. An allow-list: what is not named fails."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder of the including file -> folders of this project it may include from. The longest name counts.
PROJECT = {
    "base": {"base"},
    "platform": {"platform", "base"},
    "sql": {"sql", "platform"},
    "directory/logic": {"directory/logic", "base"},
    "directory/io": {"directory/io", "directory/logic", "platform", "sql", "base"},
    "shard-agent/logic": {"shard-agent/logic", "base"},
    "shard-agent/io": {"shard-agent/io", "shard-agent/logic", "directory/io", "platform", "sql", "base"},
    "shard-agent": {"shard-agent/io", "shard-agent/logic", "platform", "base"},
    "coordinator/logic": {"coordinator/logic", "directory/logic", "base"},
    "coordinator/io": {"coordinator/io", "coordinator/logic", "directory/io", "directory/logic", "platform",
                       "base"},
    "coordinator": {"coordinator/io", "coordinator/logic", "platform", "base"},
    "cli": {"cli", "directory/io", "platform", "sql", "base"},
    "bench": set(),  # on no part of ours: it loads what Koshel is measured against
    "tests/unit/cli": {"cli"},
    "tests/unit/platform": {"platform", "base"},
    "tests/unit": {"tests/unit", "base", "shard-agent/logic", "coordinator/logic", "directory/logic"},
    "tests/fuzz": {"tests/fuzz", "base", "platform", "directory/logic", "coordinator/io", "cli"},
    "tests/simulation": {"tests/simulation", "base", "shard-agent/logic", "coordinator/logic", "directory/logic"},
    "tests/honesty": {"tests/honesty", "tests/simulation", "base", "shard-agent/logic", "shard-agent/io",
                      "directory/logic", "directory/io", "platform", "sql"},
}

# Libraries that logic may use: containers and values, nothing that waits, opens or sends.
LOGIC_LIBRARIES = {"boost/container", "boost/unordered"}
BASE_LIBRARIES = {"boost/json", "boost/outcome", "utf8proc.h"}


def sources():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.cpp", "*.hpp"],
                            cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [pathlib.PurePosixPath(name) for name in listed]


def includes(file):
    return re.findall(r'^#include ([<"])([^>"]+)[>"]', (ROOT / file).read_text(), re.MULTILINE)


def folder_of(path):
    """The longest folder of PROJECT that holds the file."""
    known = [folder for folder in PROJECT if folder == str(path.parent) or folder in map(str, path.parents)]
    return max(known, key=len, default=None)


class IncludesTest(unittest.TestCase):
    def test_folders_include_only_what_the_architecture_allows(self):
        wrong = []
        for file in sources():
            folder = folder_of(file)
            if folder is None:
                wrong.append(f"{file}: lies in a folder that this test does not know")
                continue
            for kind, name in includes(file):
                target = folder_of(pathlib.PurePosixPath(name)) if kind == '"' else None
                if kind == '"' and target not in PROJECT[folder]:
                    wrong.append(f"{file}: may not include {name}")
        self.assertEqual(wrong, [])

    def test_logic_includes_no_library_that_does_something(self):
        wrong = []
        for file in sources():
            is_logic, is_base = "/logic/" in str(file), str(file).startswith("base/")
            allowed = LOGIC_LIBRARIES if is_logic else LOGIC_LIBRARIES | BASE_LIBRARIES
            for kind, name in includes(file) if is_logic or is_base else []:
                is_standard = "/" not in name and "." not in name
                is_allowed = any(name == each or name.startswith(each + "/") for each in allowed)
                if kind == "<" and not is_standard and not is_allowed:
                    wrong.append(f"{file}: may not include <{name}>")
        self.assertEqual(wrong, [])

    def test_logic_and_base_ask_no_clock_and_no_chance(self):
        asking = re.compile(r"(steady|system)_clock::now|std::random|\brand\(|getenv|std::thread|std::mutex")
        wrong = [f"{file}: {found[0]}" for file in sources()
                 if "/logic/" in str(file) or str(file).startswith("base/")
                 for found in [asking.search((ROOT / file).read_text())] if found]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
