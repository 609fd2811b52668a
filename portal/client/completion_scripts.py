"""Completion of commands and options in bash, zsh and fish, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

type Words = Mapping[str, list[str]]


def words_of(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Return command -> its options."""
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return {
        name: sorted(text for action in sub._actions for text in action.option_strings if text.startswith("--"))
        for name, sub in commands.choices.items()
    }


def completion_script(shell: str, parser: argparse.ArgumentParser) -> str:
    return SHELLS[shell](words_of(parser))


def bash(words: Words) -> str:
    cases = "\n".join(f'    {name}) options="{" ".join(options)}" ;;' for name, options in words.items())
    return f"""\
_portal() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -F _portal portal
"""


def zsh(words: Words) -> str:
    return f"#compdef portal\nautoload -U +X bashcompinit && bashcompinit\n{bash(words)}"


def fish(words: Words) -> str:
    lines = [f"complete -c portal -n __fish_use_subcommand -f -a '{' '.join(words)}'"]
    lines += [
        f"complete -c portal -n '__fish_seen_subcommand_from {name}' -l {option.removeprefix('--')}"
        for name, options in words.items()
        for option in options
    ]
    return "\n".join(lines) + "\n"


SHELLS: dict[str, Callable[[Words], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
