"""A contract type for import-linter: what the modules of a room may import, by pattern.

The built-in types name every forbidden module and fail on modules that do not exist; these rules say what is allowed,
so a new module or library is held to them from its first line.
"""

import re
import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ImportRule(Contract):  # type: ignore[misc]
    """Modules matching `modules` (and none of `except_modules`) import only what `only` names and nothing of `never`.

    Entries are regular expressions over the whole dotted name. A named group of the importer's pattern can be used as
    `{group}` in `only` and `never`; `STDLIB` stands for the standard library.
    """

    modules = fields.StringField()
    except_modules = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    only = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    never = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Looks at direct imports; as every module is under these rules, indirect ones need no second look."""
        broken: list[tuple[str, str, list[int]]] = []
        for importer in sorted(graph.modules):
            found = re.fullmatch(self.modules, importer)
            if not found or _matches(self.except_modules, importer, {}):
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                allowed = not self.only or _matches(self.only, imported, found.groupdict())
                if not allowed or _matches(self.never, imported, found.groupdict()):
                    details = graph.get_import_details(importer=importer, imported=imported)
                    broken.append((importer, imported, [detail["line_number"] for detail in details]))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints the imports that break the rule."""
        for importer, imported, lines in check.metadata["broken"]:
            output.print_error(f"{importer} imports {imported} (line {', '.join(map(str, lines))})", bold=False)


def _matches(patterns: list[str], name: str, groups: dict[str, str]) -> bool:
    return any(_matches_one(pattern, name, groups) for pattern in patterns)


def _matches_one(pattern: str, name: str, groups: dict[str, str]) -> bool:
    if pattern == "STDLIB":
        return name.partition(".")[0] in sys.stdlib_module_names
    for group, value in groups.items():
        pattern = pattern.replace(f"{{{group}}}", re.escape(value))
    return re.fullmatch(pattern, name) is not None
