#!/usr/bin/env python3
"""Makes the messages of the fixtures here: compiles the sources in NAME.toml and writes what the
compilers say into NAME.json, in rustc's own form, without the parts that nobody reads.

    core/tests/clusters/make.py [NAME...]

Each `rustc` of a fixture is a name that rustup knows; `EJECTA_RUSTC_1_63_0=/path/to/rustc` says
where one is that rustup does not have. The sources are a few lines each and our own; nothing is
downloaded, linked into anything or run.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).parent


def rustc(name):
    given = os.environ.get("EJECTA_RUSTC_" + name.replace(".", "_"))
    return [given] if given else ["rustup", "run", name, "rustc"]


def compile(krate, run):
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, run.get("file", "src/lib.rs"))
        file.parent.mkdir(parents=True)
        file.write_text(run["source"])
        command = rustc(run["rustc"]) + [
            "--error-format=json",
            "--crate-name=" + krate["name"].replace("-", "_"),
            "--edition=" + run.get("edition", "2021"),
            "--crate-type=" + run.get("crate-type", "lib"),
            "--emit=" + run.get("emit", "metadata"),
            "--out-dir=" + directory + "/out",
            run.get("file", "src/lib.rs"),
        ] + run.get("args", [])
        os.mkdir(directory + "/out")
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        sysroot = subprocess.run(
            rustc(run["rustc"]) + ["--print", "sysroot"], capture_output=True, text=True
        ).stdout.strip()
    if done.returncode == 0:
        print(f"`{krate['name']}` compiles with {run['rustc']}", file=sys.stderr)
    kept = []
    for line in done.stderr.splitlines():
        text = line.replace(directory, "/ejecta/job").replace(sysroot, "/ejecta/toolchain")
        text = re.sub(r"/tmp/rustc\w+", "/tmp/rustcXXXXXX", text)
        message = json.loads(text)
        if message.get("$message_type", "diagnostic") != "diagnostic":
            continue
        if not message["level"].startswith("error"):
            continue
        kept.append(shorten(message, run))
    return kept


def shorten(message, run):
    prefix = ""
    if "package" in run:
        name, version = run["package"].split(" ")
        prefix = f"/ejecta/job/vendor/{name}-{version}/"
    code = message["code"]
    spans = [s for s in message["spans"] if s["is_primary"]][:1]
    for span in spans:
        span["file_name"] = prefix + span["file_name"]
        span["text"] = []
        span["expansion"] = None
    rendered = re.sub(r"(--> |::: )src/", rf"\1{prefix}src/", message["rendered"])
    return {
        "message": message["message"],
        "code": code and {"code": code["code"], "explanation": None},
        "level": message["level"],
        "spans": spans,
        "children": [],
        "rendered": rendered[:4000],
    }


def main():
    names = sys.argv[1:] or [p.stem for p in sorted(HERE.glob("*.toml"))]
    for name in names:
        fixture = tomllib.loads((HERE / (name + ".toml")).read_text())
        said = {}
        for krate in fixture["crate"]:
            runs = [r for r in krate.get("compile", []) if "source" in r]
            if runs:
                said[krate["name"]] = [compile(krate, run) for run in runs]
        if said:
            print(name)
            text = json.dumps(said, indent=1, ensure_ascii=False)
            (HERE / (name + ".json")).write_text(text + "\n")


main()
