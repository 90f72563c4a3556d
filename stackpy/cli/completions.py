"""Shell completion: the shells' scripts are thin and ask us, so that they never lag behind the commands.

The scripts call `stackpy __complete WORDS…` with the words up to the cursor; the last is the one being typed. The
answer is a candidate a line, `word<TAB>what it is`; the line `:file` or `:folder` leaves it to the shell.
"""

from __future__ import annotations

from stackpy.cli import options, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy.cli.grammar import Argument, Command, Option

    Candidate = tuple[str, str]
    Lookup = Callable[[str], list[Candidate]]


BASH = """\
_stackpy() {
    local line words current
    line="${COMP_LINE:0:COMP_POINT}"
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    current="${words[-1]}"
    COMPREPLY=()
    local candidate rest
    while IFS=$'\\t' read -r candidate rest; do
        case "$candidate" in
            :file) compopt -o default 2>/dev/null ;;
            :folder) compopt -o dirnames 2>/dev/null ;;
            # readline has split the word at its colons already
            *) [[ "$current" == *:* ]] && candidate="${candidate#"${current%:*}:"}"; COMPREPLY+=("$candidate") ;;
        esac
    done < <(stackpy __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _stackpy stackpy
"""
ZSH = """\
#compdef stackpy
_stackpy() {
    local -a candidates
    local line
    for line in "${(@f)$(stackpy __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$line" in
            :file) _files ;;
            :folder) _files -/ ;;
            ?*) local word="${line%%$'\\t'*}"; candidates+=("${word//:/\\\\:}:${line#*$'\\t'}") ;;
        esac
    done
    (( $#candidates )) && _describe stackpy candidates
}
if [ "$funcstack[1]" = "_stackpy" ]; then _stackpy "$@"; else compdef _stackpy stackpy; fi
"""
FISH = """\
function __stackpy_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (stackpy __complete $words[2..-1] 2>/dev/null)
        switch $line
            case :file
                __fish_complete_path (commandline -ct)
            case :folder
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $line
        end
    end
end
complete -c stackpy -f -a '(__stackpy_complete)'
"""


def script(shell: str) -> str:
    """The script of a shell."""
    return {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]


def candidates(words: Sequence[str], lookup: Lookup) -> list[Candidate]:
    """What the last of `words` may become.

    lookup: kind of word ("container", "image", …) → the names that exist now
    """
    *before, current = words or [""]
    verb, behind = _verb(before)
    if verb is None:
        wanted = _value_of(options.GLOBAL, before)
        if wanted:
            return _matching(current, _values(wanted, lookup))
        if current.startswith("-"):
            return _matching(current, _names((*options.GLOBAL, options.HELP)))
        return _matching(current, [(command.name.partition(" ")[0], command.summary) for command in _verbs()])
    if verb in table.NOUNS:
        if not behind:
            named = [table.load(name) for name in table.NAMES if name.startswith(f"{verb} ")]
            return _matching(current, [(command.name.partition(" ")[2], command.summary) for command in named])
        verb, behind = f"{verb} {behind[0]}", behind[1:]
    if verb not in table.NAMES:
        return []
    return _matching(current, _of_command(table.load(verb), behind, current, lookup))


def _of_command(command: Command, before: list[str], current: str, lookup: Lookup) -> list[Candidate]:
    every = (*command.options, *options.behind_verb(command))
    wanted = _value_of(every, before)
    if wanted:
        return _values(wanted, lookup)
    position = len(_positional(before, every))
    takes_rest = any(argument.rest for argument in command.arguments)
    if current.startswith("-") and not (takes_rest and position):
        return _names(every)
    argument = _argument_at(command.arguments, position)
    if argument is None or not argument.words:
        return []
    if argument.words in ("file", "folder"):
        return [(f":{argument.words}", "")]
    return lookup(argument.words)


def _verbs() -> list[Command]:
    """One command of each verb; a noun is shown by its first."""
    first: dict[str, Command] = {}
    for _, commands in table.commands():
        for command in commands:
            first.setdefault(command.name.partition(" ")[0], command)
    return list(first.values())


def _verb(words: Sequence[str]) -> tuple[str | None, list[str]]:
    index = 0
    while index < len(words):
        word = words[index]
        if not word.startswith("-"):
            return word, list(words[index + 1 :])
        index += 2 if _value_of(options.GLOBAL, [word]) else 1
    return None, []


def _value_of(known: Sequence[Option], before: Sequence[str]) -> Option | None:
    """The option whose value comes next."""
    if not before or not before[-1].startswith("-") or "=" in before[-1]:
        return None
    last = before[-1] if before[-1].startswith("--") else f"-{before[-1][-1]}"
    return next((option for option in known if last in option.names and not option.is_flag), None)


def _positional(words: Sequence[str], known: Sequence[Option]) -> list[str]:
    found: list[str] = []
    for index, word in enumerate(words):
        if not word.startswith("-") and not _value_of(known, words[:index]):
            found.append(word)
    return found


def _argument_at(arguments: Sequence[Argument], position: int) -> Argument | None:
    if position < len(arguments):
        return arguments[position]
    return arguments[-1] if arguments and arguments[-1].many else None


def _values(option: Option, lookup: Lookup) -> list[Candidate]:
    if option.choices:
        return [(choice, "") for choice in option.choices]
    if option.words in ("file", "folder"):
        return [(f":{option.words}", "")]
    return lookup(option.words) if option.words else []


def _names(known: Sequence[Option]) -> list[Candidate]:
    return [(option.names[-1], option.help) for option in known]


def _matching(current: str, found: Sequence[Candidate]) -> list[Candidate]:
    return [pair for pair in found if pair[0].startswith(":") or pair[0].startswith(current)]
