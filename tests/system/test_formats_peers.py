"""Go's templates on the documents of engines that are written in Go: what they make of them, and what we do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stackpy.cli.formats import typed
from stackpy.render.go_templates import Template
from tests import peers_lab
from tests.image_archives import Built, as_tar, layer

pytestmark = pytest.mark.root

CONFIG = {
    "Env": ["PATH=/bin", "B=2"],
    "Labels": {"b": "2", "a": "1"},
    "ExposedPorts": {"80/tcp": {}},
    "Cmd": ["sh", "-c"],
    "User": "u",
}
# A line each, on what every engine's document has.
TEMPLATES = r"""
{{.Id}} {{.RepoTags}} {{.Os}} {{.Size}}
{{json .Config.Labels}} {{json .Config.Env}} {{json .RootFS}}
{{.Config.Labels}} {{.Config.Labels.a}} {{.Config.Labels.none}}
{{index .Config.Labels "a"}}|{{index .Config.Labels "none"}}|
{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}
{{.Config.Env}} {{len .Config.Env}} {{range .Config.Env}}{{println .}}{{end}}
{{join .Config.Env ","}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{json .Config.Entrypoint}} {{.Config.Volumes}}
{{range $p, $c := .Config.ExposedPorts}}{{$p}}{{$c}}{{end}}
{{printf "%d %q %v %s" .Size .Architecture .Config.Env .Config.Cmd}}
{{printf "%-10s|%10s|%.2s|%q|%x|% x|%#q" .Os .Os .Os .Os .Os .Os .Os}}
{{printf "%05d %x %X %o %b %c %U %e %g %6.2f %t %T %T" 42 255 255 8 5 65 65 1500.0 1500000.0 3.14159 true 1 "a"}}
{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}} {{printf "%!" }} {{printf "%z" 1}} {{printf "%d %d" 1}}
{{printf "%5t|%-7q|%+d|% d|%#x" true "a" 5 5 255}}
{{printf "%[2]d %[1]d" 1 2}} {{printf "%6.3v|%8v|%-8v|" 3.14159 "ab" "ab"}}
{{printf "%#v %#v" "a" 1}} {{printf "%q %x" .Config.Env .Config.Env}} {{printf "%d %5v" nil nil}} {{printf "%05d" -42}}
{{print 1 2 "a" 3 4}} {{println "a" 1}}
{{"a\tb<>&'" | js}} {{html "<a href='x'>&\""}} {{urlquery "a b/é~+"}}
{{upper "abc"}} {{lower "ABC"}} {{title "hello wOrld it's a_b 3x"}}
{{pad "x" 1 2}}| {{truncate "abcdef" 3}} {{split "a:b:c" ":"}}
{{slice "abcdef" 1 3}} {{slice .Config.Env 1}} {{index .Config.Env 0}} {{index "abc" 1}} {{len "é"}}
{{eq 1 1}} {{eq "a" "b" "a"}} {{ne 1 2}} {{lt 1 2}} {{le "a" "b"}} {{gt 2 1}} {{ge 1.5 2.5}}
{{and 1 0 2}} {{and 1 2}} {{or 0 "" 3}} {{or 0 ""}} {{not 0}} {{not .Config.Volumes}}
{{$x := "a"}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}
{{/* c */}}a {{- "b" -}} c
{{define "T"}}<{{.}}>{{end}}{{template "T" .Os}}{{block "B" .Os}}[{{.}}]{{end}}
{{1e3}} {{1.5}} {{0x1F}} {{'a'}} {{1000000.0}} {{123456789.0}} {{0.00001}} {{true}} {{.5}}
{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{else}}none{{end}} {{range .Config.Volumes}}x{{else}}none{{end}}
{{with $x := .Config}}{{$x.User}} {{$.Os}}{{end}} {{(index .RepoTags 0)}} {{(.Config).User}}
{{if .Config.Volumes}}a{{else if .Config.User}}b{{else}}c{{end}}
{{range .Config.Env}}{{break}}{{end}}{{range .Config.Env}}{{continue}}x{{end}}ok
""".strip().splitlines()


@pytest.mark.parametrize("peer", peers_lab.NAMES)
def test_templates_say_what_they_say_elsewhere(tmp_path: Path, peer: str) -> None:
    built = Built([layer(a="x")], config=CONFIG, history=[{"created_by": "x"}])
    as_tar(tmp_path / "image.tar", built.docker(RepoTags=["localhost/x:1"]))
    with peers_lab.all_there_are(tmp_path / "podman") as peers:
        other = peers[peer]
        other("load", "-i", str(tmp_path / "image.tar"))
        (document,) = json.loads(other("image", "inspect", "localhost/x:1"))
        # podman puts each into a template over all images: none can be defined in it, and `$` is another
        apart = ("{{define", "{{$.") if peer == "podman" else ()
        asked = [each for each in TEMPLATES if not any(word in each for word in apart)]
        theirs = [other("image", "inspect", "--format", each, "localhost/x:1") for each in asked]
    document["Config"] = {"Entrypoint": None, "Volumes": None, **document["Config"]}  # podman leaves out what is empty
    ours = [Template(each).render(typed(document)) + "\n" for each in asked]
    # Go has integers of more than one size.
    assert ours == [each.replace("(int64=", "(int=") for each in theirs]
