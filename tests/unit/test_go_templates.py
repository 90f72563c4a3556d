"""Go's templates with docker's functions: what each form says, and what is said of mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpy.errors import StackpyError, UsageError
from stackpy.render.go_templates import Duration, NilList, NilMap, Struct, Template
from stackpy.render.go_templates.values import Method

DOCUMENT = Struct(
    {
        "Name": "/web",
        "State": Struct({"Status": "running", "Pid": 12, "Running": True, "ExitCode": 0}, {"Health": None}),
        "Config": Struct(
            {"Env": ["A=1", "B=2"], "Labels": {"b": "2", "a.c": "1"}, "Cmd": NilList(), "Volumes": NilMap()}
        ),
        "Ports": {"80/tcp": [Struct({"HostIp": "127.0.0.1", "HostPort": "8080"})], "90/tcp": None},
        "Limit": None,
        "Share": 0.5,
        "Label": Method(lambda name: f"<{name}>"),
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.State.Status}}", "running"),
        ("{{ .State.Status | upper }}", "RUNNING"),
        ("{{(.State).Status}} {{$.Name}}", "running /web"),
        ("{{.State}}", "{running 12 true 0}"),
        ("{{.Config.Env}} {{.Config.Labels}} {{.Config.Cmd}} {{.Config.Volumes}}", "[A=1 B=2] map[a.c:1 b:2] [] map[]"),
        ("{{.Limit}} {{.Share}} {{.State.Running}}", "<nil> 0.5 true"),
        ("{{.Config.Labels.none}} {{.Config.Labels.none.deeper}}", "<no value> <no value>"),
        ('{{.Label "x"}} {{"y" | .Label}}', "<x> <y>"),
        # white space and comments
        ("a {{- 1 -}} b", "a1b"),
        ("a {{/* said {{aside}} */}}b {{- /* trimmed */ -}} c", "a bc"),
        ("{{-3}}", "-3"),
        # literals
        (r'{{"a\t\u00e9\x41\101\""}}{{`raw\t`}}', "a\té" + r'AA"raw\t'),
        (
            "{{'a'}} {{0x1F}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{1e3}} {{.5}} {{true}}",
            "97 31 3 15 15 1000 1000 0.5 true",
        ),
        # control
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        ("{{if .Limit}}a{{else if .Share}}b{{else}}c{{end}}", "b"),
        ("{{with .Config}}{{len .Env}}{{end}}{{with .Limit}}x{{else}}-{{end}}", "2-"),
        ("{{with $c := .Config}}{{index $c.Env 1}}{{end}}", "B=2"),
        ("{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=1,B=2"),
        ("{{range $e := .Config.Env}}{{$e}};{{end}}", "A=1;B=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "a.c=1 b=2 "),
        ("{{range .Config.Cmd}}x{{else}}empty{{end}}{{range .Limit}}x{{else}}nil{{end}}", "emptynil"),
        ("{{range 4}}{{if eq . 1}}{{continue}}{{end}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}", "02"),
        ("{{$x := 1}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}", "B=2"),
        ("{{range $p, $c := .Ports}}{{$p}}{{if $c}}>{{(index $c 0).HostPort}}{{end}} {{end}}", "80/tcp>8080 90/tcp "),
        ('{{define "one"}}<{{.}}>{{end}}{{template "one" .Name}}{{block "two" 2}}{{.}}{{end}}', "</web>2"),
        # functions
        ('{{index .Config.Labels "a.c"}}|{{index .Config.Labels "none"}}|{{index "abc" 1}}', "1||98"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .Ports "80/tcp" 0 "HostIp"}}', "127.0.0.1"),
        ('{{slice "abcdef" 1 3}}{{slice .Config.Env 1}}', "bc[B=2]"),
        ('{{len "é"}} {{len .Config.Labels}} {{len .Config.Cmd}}', "2 2 0"),
        ('{{and 1 0 2}} {{and 1 2}} {{or 0 "" 3}} {{or 0 ""}}|{{not 0}}', "0 2 3 |true"),
        ("{{and .Limit .Limit.Never}}", "<nil>"),
        (
            '{{eq 1 1}} {{eq "a" "b" "a"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1.5 2.5}}',
            "true true true true true true false",
        ),
        ("{{eq .Limit nil}} {{eq .Name nil}}", "true false"),
        ('{{print 1 2 "a" 3 4}}|{{println "a" 1}}', "1 2a3 4|a 1\n"),
        ('{{html "<a href=\'x\'>&"}} {{urlquery "a b/é~"}}', "&lt;a href=&#39;x&#39;&gt;&amp; a+b%2F%C3%A9~"),
        (r'{{js "it\"s <b>\n"}}', r"it\"s \u003Cb\u003E\u000A"),
        (
            '{{json .Config}} {{json .Config.Labels.none}} {{json "<é>"}}',
            '{"Env":["A=1","B=2"],"Labels":{"a.c":"1","b":"2"},"Cmd":null,"Volumes":null} null "<é>"',
        ),
        ('{{join .Config.Env ", "}}{{join .Config.Cmd ","}}{{join .Limit ","}}', "A=1, B=2"),
        ('{{split "a:b" ":"}} {{title "hello wOrld it\'s"}} {{lower "ABC"}}', "[a b] Hello WOrld It'S abc"),
        ('{{pad "x" 1 2}}|{{truncate "abcdef" 3}}{{truncate "a" 3}}', " x  |abca"),
        # printf
        ('{{printf "%s %d %v %t %q %%" "a" 1 .State true "b"}}', 'a 1 {running 12 true 0} true "b" %'),
        (
            '{{printf "%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%U|%#x" 42 42 -42 42 255 255 8 5 65 65 255}}',
            "   42|42   |-0042|+42|ff|FF|10|101|A|U+0041|0xff",
        ),
        (
            '{{printf "%6.2f|%e|%g|%.3g|%v" 3.14159 1500.0 1500000.0 3.14159 0.1}}',
            "  3.14|1.500000e+03|1.5e+06|3.14|0.1",
        ),
        (
            '{{printf "%8s|%-8s|%.2s|%x|% x|%#q" "abc" "abc" "abc" "hi" "hi" "q"}}',
            "     abc|abc     |ab|6869|68 69|`q`",
        ),
        (
            '{{printf "%s %q %v %#v" .Config.Env .Config.Env .Config.Labels .Config.Env}}',
            '[A=1 B=2] ["A=1" "B=2"] map[a.c:1 b:2] []string{"A=1", "B=2"}',
        ),
        (
            '{{printf "%d" "x"}} {{printf "%s" 1}} {{printf "%s"}} {{printf "a" 1}} {{printf "%"}} {{printf "%s" nil}}',
            "%!d(string=x) %!s(int=1) %!s(MISSING) a%!(EXTRA int=1) %!(NOVERB) %!s(<nil>)",
        ),
        ('{{printf "%+v" .State}}', "{Status:running Pid:12 Running:true ExitCode:0}"),
        ('{{printf "%*d|%-*d|%T %T" 4 7 4 7 1 "a"}}', "   7|7   |int string"),
        ('{{printf "%[2]d %[1]d|%6.3v|%.2v|%[7]d" 1 2}}', "2 1|     2|%!v(MISSING)|%!d(BADINDEX)"),
        ('{{printf "%6.3v|%.2v|%8v" 3.14159 "abc" "ab"}}', "  3.14|ab|      ab"),
        ('{{"put" | printf "%s%s" "out" | printf "%q"}}', '"output"'),
    ],
)
def test_what_it_says(text: str, expected: str) -> None:
    assert Template(text).render(DOCUMENT) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{.Name", "line 1: an action is not closed", "it ends with `}}`"),
        ("\n{{end}}", "line 2: unexpected `{{end}}`", ""),
        ("{{if .A}}", "line 1: `{{end}}` is missing", "each `if`, `range`, `with`, `define` and `block` needs one"),
        ("{{if}}{{end}}", "line 1: a value is missing", ""),
        ("{{.A |}}", "line 1: a value is missing behind `|`", ""),
        ("{{.A | 3}}", "line 1: `3` cannot take what is handed to it by `|`", ""),
        ("{{uper .A}}", "line 1: there is no function `uper`", "did you mean `upper`?"),
        ("{{Status}}", "line 1: there is no function `Status`", "a field begins with a dot: `.Status`"),
        ("{{$x}}", "line 1: there is no variable `$x`", ""),
        ("{{range .A}}{{$x := 1}}{{end}}{{$x}}", "line 1: there is no variable `$x`", ""),
        ("{{$x, $y := .A}}", "line 1: only `range` takes two variables", ""),
        ("{{break}}", "line 1: `break` stands outside of a `range`", ""),
        ("{{template x}}", "line 1: `template` needs the name of a template in quotes", ""),
        ('{{"a}}', 'line 1: a string is not closed by `"`', ""),
        (r'{{"\z"}}', r'line 1: `\z` is no escape in "\z"', ""),
        ("{{'ab'}}", "line 1: 'ab' is not one character", ""),
        ("{{/* a }}", "line 1: a comment is not closed", "it ends with `*/}}`"),
        ('{{"a""b"}}', 'line 1: unexpected `"b"` right behind `"a"`', ""),
        ("{{.A ! }}", "line 1: unexpected `!` in an action", ""),
        ("{{(.A}}", "line 1: unexpected `}}`", ""),
    ],
)
def test_what_is_no_template(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(text)
    assert (caught.value.message, caught.value.hint) == (f"template, {message}", hint)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{.State.Stauts}}", "at `.State.Stauts`: there is no field `Stauts`", "did you mean `Status`?"),
        ("{{.State.Zzz}}", "at `.State.Zzz`: there is no field `Zzz`", "it has Status, Pid, Running, ExitCode"),
        (
            "{{.State.Health.Status}}",
            "at `.State.Health.Status`: what should have `Status` is nil",
            "`{{with .A}}{{.B}}{{end}}` prints nothing then",
        ),
        ("{{.Name.X}}", "at `.Name.X`: a string has no field `X`", ""),
        (
            "{{.Config.Env.X}}",
            "at `.Config.Env.X`: a []string has no field `X`",
            "`{{range .A}}{{.X}}{{end}}` goes over it, `{{(index .A 0).X}}` takes one",
        ),
        ("{{.Name 3}}", "at `.Name`: `Name` takes no arguments", ""),
        ("{{.Label}}", "at `.Label`: wrong number of arguments for `Label`", ""),
        ('{{"a" .Name}}', 'at `"a"`: it is no function and takes no arguments', ""),
        ("{{nil}}", "at `nil`: `nil` is no command", ""),
        ("{{upper .State.Pid}}", "at `upper`: expected a string, not a int: 12", ""),
        ("{{upper}}", "at `upper`: `upper` takes 1 argument, not 0", ""),
        ("{{index .Config.Env 7}}", "at `index`: there is no element 7: the length is 2", ""),
        ('{{index .Config.Env "A"}}', "at `index`: the elements of a list have numbers: A", ""),
        ("{{index .Limit 0}}", "at `index`: nil has no elements", ""),
        ("{{len 3}}", "at `len`: a int has no length", ""),
        ('{{eq 1 "a"}}', "at `eq`: a int is not compared with a string", ""),
        ("{{eq .Config.Env .Config.Env}}", "at `eq`: a []string cannot be compared", ""),
        ("{{lt true false}}", "at `lt`: bool has no order", ""),
        ('{{slice "abc" 2 1}}', "at `slice`: there is no 2:1: the length is 3", ""),
        ("{{range .Name}}{{end}}", "at `(.Name)`: `range` goes over lists and maps, not over a string", ""),
        ('{{join .Name ","}}', "at `join`: expected a []string, not a string: /web", ""),
    ],
)
def test_what_is_not_there(text: str, message: str, hint: str) -> None:
    with pytest.raises(StackpyError) as caught:
        Template(text).render(DOCUMENT)
    assert (caught.value.message, caught.value.hint) == (f"template, {message}", hint)
    assert caught.value.exit_code == 1


def test_templates_that_include_each_other_end() -> None:
    with pytest.raises(StackpyError, match="`a` includes itself more than 100 times"):
        Template('{{define "a"}}{{template "a" .}}{{end}}{{template "a" .}}').render({})
    with pytest.raises(StackpyError, match="there is no template `b`"):
        Template('{{template "b"}}').render({})


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (500_000_000, "500ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (-5_000_000_000, "-5s"),
    ],
)
def test_durations(nanoseconds: int, text: str) -> None:
    document = Struct({"D": Duration(nanoseconds)})
    assert Template('{{.D}} {{printf "%v %d" .D .D}} {{json .D}}').render(document) == (
        f"{text} {text} {nanoseconds} {nanoseconds}"
    )


def test_heads_are_left_as_they_are() -> None:
    heads = Struct({"Names": "NAMES", "ID": "CONTAINER ID"})
    assert Template("{{upper .Names}} {{truncate .ID 3}} {{json .ID}}").render(heads, as_heads=True) == (
        "NAMES CONTAINER ID CONTAINER ID"
    )


_PIECES = st.sampled_from(
    r"""{{ }} {{- -}} {{/* */}} if range with else end define template block break continue . .A .B.C $ $x := = | , (
    ) index len printf join json "a" `b` 'c' 1 -2.5 nil true eq and or slice println "%*d" "%s%v" """.split()
)


@settings(max_examples=300)
@given(st.lists(st.one_of(_PIECES, st.text(max_size=3)), max_size=14).map(" ".join))
def test_any_text_is_a_template_or_a_mistake_that_is_told(text: str) -> None:
    value: Any = Struct({"A": [1, "b", {"c": None}], "B": Struct({"C": {"d": 1.5}})})
    try:
        Template(text).render(value)
    except StackpyError as error:
        assert error.message.startswith("template")
