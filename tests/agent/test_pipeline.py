"""Plugins made of a configuration and at work together (collector.pipeline), in a running agent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.agent.agent import Agent, get
from tests.agent.test_run_lifecycle import free_port
from tests.polling import until

TRACE = ["Traceback (most recent call last):", '  File "a.py", line 1', "    x", "ValueError: 1"]

MANY_KINDS = """
[SERVICE]
    Flush 0.1
    HTTP_Server On
    HTTP_Listen 127.0.0.1
    HTTP_Port {port}
[INPUT]
    Name dummy
    Tag  d
    Dummy {{"a.x": 1, "a.y": 2, "b": "secret"}}
    Samples 3
    Rate 100
[INPUT]
    Name tail
    Tag  app
    Path {folder}/*.log
    Read_from_Head On
[FILTER]
    Name nest
    Match d
    Operation nest
    Wildcard a.*
    Nest_under a
    Remove_prefix a.
[FILTER]
    Name record_modifier
    Match d
    Remove_key b
    Record node n1
[FILTER]
    Name multiline
    Match app
    multiline.parser python
    Flush_Ms 100
[FILTER]
    Name rewrite_tag
    Match app*
    Rule $log ^Traceback app.trace false
[FILTER]
    Name parser
    Match app
    Key_Name log
    Parser logfmt
[FILTER]
    Name grep
    Match app
    Exclude level info
[OUTPUT]
    Name file
    Match *
    Path {folder}
    Format out_file
"""

PROCESSORS_OF_AN_INPUT = """
service: {{flush: 0.1}}
pipeline:
  inputs:
    - name: tail
      tag: app
      path: {folder}/*.log
      read_from_head: on
      processors:
        logs:
          - name: multiline
            multiline.parser: python
            flush_ms: 60000
          - name: modify
            match: ignored
            add: by processor
    - name: dummy
      tag: d
      samples: 1
      rate: 100
  filters:
    - name: modify
      match: '*'
      copy: by copied
      add: by filter
  outputs:
    - name: file
      match: '*'
      path: {folder}
      format: out_file
"""

PROCESSORS_OF_AN_OUTPUT = """
service: {{flush: 0.1, http_server: on, http_listen: 127.0.0.1, http_port: {port}}}
pipeline:
  inputs:
    - {{name: dummy, tag: d, dummy: '{{"n": "1"}}', samples: 1, rate: 100}}
    - {{name: dummy, tag: d, dummy: '{{"n": "2"}}', samples: 1, rate: 100}}
  outputs:
    - {{name: file, match: '*', path: {folder}, file: all, format: plain}}
    - name: file
      match: '*'
      path: {folder}
      file: some
      format: plain
      processors:
        logs:
          - {{name: grep, regex: n 2}}
          - {{name: modify, set: by output}}
"""


def records_of(path: Path) -> list[Any]:
    """Of lines in Format out_file."""
    return [json.loads(line.partition(", ")[2].rpartition("]")[0]) for line in path.read_text().splitlines()]


def test_inputs_filters_and_outputs_of_many_kinds(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(
        "\n".join(["level=info msg=begin", *TRACE, "level=error msg=end"]) + "\n"
    )
    port = free_port()
    (tmp_path / "main.conf").write_text(MANY_KINDS.format(folder=tmp_path, port=port))
    with Agent("-c", str(tmp_path / "main.conf")) as agent:
        agent.wait_until_running()
        (tmp_path / "app.log").open("a").write("level=warn msg=last\n")
        wanted = 'fluentbit_output_proc_records_total{name="file.0"} 6\n'
        until(lambda: wanted in get(port, "/metrics")[1])
        metrics = get(port, "/metrics")[1]
        assert agent.stop() == 0
    written = [path for path in tmp_path.iterdir() if path.suffix not in (".conf", ".log")]
    assert {path.name: records_of(path) for path in written} == {
        "d": [{"a": {"x": 1, "y": 2}, "node": "n1"}] * 3,
        "app.trace": [{"log": "\n".join(TRACE)}],
        "app": [{"level": "error", "msg": "end"}, {"level": "warn", "msg": "last"}],
    }
    assert 'fluentbit_filter_drop_records_total{name="grep.0"} 1\n' in metrics
    assert 'fluentbit_filter_emit_records_total{name="rewrite_tag.0"} 1\n' in metrics
    # What has another tag comes again to all that match it, rewrite_tag too, as Fluent Bit counts it.
    seen = {"nest": 3, "multiline": 7, "rewrite_tag": 5, "parser": 3, "grep": 3}
    for name, number in seen.items():
        assert f'fluentbit_filter_records_total{{name="{name}.0"}} {number}\n' in metrics
    delivered = re.findall(r'^fluentbit_input_bytes_total{name="dummy.0"} (\d+)$', metrics, re.M)
    assert re.findall(r'^fluentbit_filter_bytes_total{name="nest.0"} (\d+)$', metrics, re.M) == delivered


def test_processors_of_an_input(tmp_path: Path) -> None:
    """Before the filters, for the records of that input alone; at the end they hand on what they hold."""
    (tmp_path / "app.log").write_text("\n".join(["begin", *TRACE]) + "\n")
    (tmp_path / "main.yaml").write_text(PROCESSORS_OF_AN_INPUT.format(folder=tmp_path))
    with Agent("-c", str(tmp_path / "main.yaml")) as agent:
        agent.wait_until_running()
        until(lambda: (tmp_path / "app").exists() and (tmp_path / "d").exists())
        assert agent.stop() == 0
    assert records_of(tmp_path / "d") == [{"message": "dummy", "by": "filter"}]
    processed = {"by": "processor", "copied": "processor"}
    assert records_of(tmp_path / "app") == [
        {"log": "begin"} | processed,
        {"log": "\n".join(TRACE)} | processed,
    ]


def test_processors_of_an_output(tmp_path: Path) -> None:
    """What one output gets, and no other."""
    port = free_port()
    (tmp_path / "main.yaml").write_text(PROCESSORS_OF_AN_OUTPUT.format(folder=tmp_path, port=port))
    wanted = (
        'fluentbit_output_proc_records_total{name="file.0"} 2\n',
        'fluentbit_output_proc_records_total{name="file.1"} 2\n',
        'fluentbit_filter_drop_records_total{name="file.1.grep.0"} 1\n',
    )
    with Agent("-c", str(tmp_path / "main.yaml")) as agent:
        agent.wait_until_running()
        until(lambda: all(one in get(port, "/metrics")[1] for one in wanted))
        assert agent.stop() == 0
    assert sorted((tmp_path / "all").read_text().splitlines()) == ['{"n":"1"}', '{"n":"2"}']
    assert (tmp_path / "some").read_text().splitlines() == ['{"n":"2","by":"output"}']
