"""Scripts that complete `pdframe` in bash and zsh, made from the parser: they run no Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

_FILES = frozenset({"FILE"})
_FOLDERS = frozenset({"DIR"})
_TABLES = frozenset({"TABLE"})
_BEGINNINGS = {"RATES": ("ecb",)}
"""By metavar, words that a value begins with."""


def completion(
    shell: str, parser: argparse.ArgumentParser, tables: Mapping[str, Sequence[str]]
) -> str:
    """Return the script for a shell.

    Parameters
    ----------
    shell
        "bash" or "zsh".
    parser
        The parser of the command line.
    tables
        By command, the names that complete a TABLE.
    """
    commands = _commands(parser)
    return (_bash if shell == "bash" else _zsh)(commands, tables)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(action.choices)


def _bash(commands: dict[str, argparse.ArgumentParser], tables: Mapping[str, Sequence[str]]) -> str:
    lines = [
        "# bash completion of pdframe. Add to ~/.bashrc: source <(pdframe completion bash)",
        "_pdframe() {",
        '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local subcommand="${COMP_WORDS[1]}" candidates="" kind=""',
        '    if [[ "$COMP_CWORD" -eq 1 ]]; then',
        f'        candidates="{" ".join(commands)} --help --version"',
        "    else",
        '        case "$subcommand" in',
    ]
    for name, command in commands.items():
        lines += [
            f"        {name})",
            f'            candidates="{" ".join(_words(command, tables.get(name, ())))}"',
        ]
        kind = _kind(command)
        if kind:
            lines.append(f"            kind={kind}")
        values = _values(command)
        if values:
            lines.append('            case "$prev" in')
            lines += [f"            {option}) {chosen} ;;" for option, chosen in values.items()]
            lines.append("            esac")
        lines.append("            ;;")
    lines += [
        "        esac",
        "    fi",
        '    COMPREPLY=($(compgen -W "$candidates" -- "$cur"))',
        '    [[ "$cur" != -* && "$kind" == file ]] && COMPREPLY+=($(compgen -f -- "$cur"))',
        '    [[ "$cur" != -* && "$kind" == folder ]] && COMPREPLY+=($(compgen -d -- "$cur"))',
        "    return 0",
        "}",
        "complete -o filenames -F _pdframe pdframe",
    ]
    return "\n".join(lines)


def _words(command: argparse.ArgumentParser, tables: Sequence[str]) -> list[str]:
    """Return the options of a command, and what its arguments may be."""
    words = [option for action in command._actions for option in action.option_strings]
    for action in command._actions:
        if action.option_strings:
            continue
        words += [str(choice) for choice in action.choices or ()]
        words += tables if action.metavar in _TABLES else ()
    return words


def _kind(command: argparse.ArgumentParser) -> str:
    """Return whether an argument of a command is a file or a folder."""
    shown = {action.metavar for action in command._actions if not action.option_strings}
    return "file" if shown & _FILES else "folder" if shown & _FOLDERS else ""


def _values(command: argparse.ArgumentParser) -> dict[str, str]:
    """Return how the value of each option completes, in bash."""
    values = {}
    for action in command._actions:
        if not action.option_strings or action.nargs == 0:
            continue
        choices = " ".join(map(str, action.choices or _BEGINNINGS.get(str(action.metavar)) or ()))
        kind = "folder" if action.metavar in _FOLDERS else ""
        values["|".join(action.option_strings)] = f'candidates="{choices}"; kind={kind}'
    return values


def _zsh(commands: dict[str, argparse.ArgumentParser], tables: Mapping[str, Sequence[str]]) -> str:
    """Return zsh's script: it runs that of bash, which zsh understands."""
    return "\n".join(
        [
            "# zsh completion of pdframe. Add to ~/.zshrc after compinit:",
            "#   source <(pdframe completion zsh)",
            "autoload -Uz bashcompinit && bashcompinit",
            _bash(commands, tables),
        ]
    )


__all__ = ["completion"]
