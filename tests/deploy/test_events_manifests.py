"""The deployment that tells the cluster's events: valid, without rights that it does not use, and it runs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from collector.config.document import load_file
from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import free_port
from tests.deploy.manifests import BASE, Object
from tests.deploy.test_manifests import RELEASES, name_of

EVENTS = BASE.parent / "events"
NOBODY = 65534


def listed() -> Object:
    return dict(yaml.safe_load((EVENTS / "kustomization.yaml").read_text()))


def objects() -> list[Object]:
    return [
        found for name in listed()["resources"] for found in yaml.safe_load_all((EVENTS / name).read_text())
    ]


def one(kind: str) -> Any:
    (found,) = (each for each in objects() if each["kind"] == kind)
    return found


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("manifest", objects(), ids=name_of)
def test_object_fits_the_published_schema(manifest: Object, release: str) -> None:
    kubernetes_validate.validate(manifest, release, strict=True)


def test_every_file_is_listed() -> None:
    files = {*listed()["resources"], *listed()["configMapGenerator"][0]["files"], "kustomization.yaml"}
    assert {path.name for path in EVENTS.iterdir()} == files


def test_kustomize_builds_it() -> None:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "KUBECONFIG": "/dev/null"}
    done = subprocess.run(
        ["kubectl", "kustomize", str(EVENTS)], env=environment, capture_output=True, text=True, check=True
    )
    made = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
    assert sorted(made) == sorted([*(each["kind"] for each in objects()), "ConfigMap"])
    volumes = made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert made["ConfigMap"]["metadata"]["name"] in [
        each["configMap"]["name"] for each in volumes if "configMap" in each
    ]
    assert {each["metadata"].get("namespace", "monitoring") for each in made.values()} == {"monitoring"}


def test_one_pod_that_may_read_events_and_nothing_else() -> None:
    deployment, binding = one("Deployment"), one("ClusterRoleBinding")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (1, "Recreate")
    assert one("ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]}
    ]
    account = one("ServiceAccount")["metadata"]
    assert [(each["name"], each["namespace"]) for each in binding["subjects"]] == [
        (account["name"], account["namespace"])
    ]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["name"]
    assert [each for each in pod["volumes"] if "hostPath" in each] == []
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_its_configuration_tells_the_events_and_keeps_the_place_in_the_state_folder() -> None:
    document = load_file(str(EVENTS / "fluent-bit.conf"), {})
    (config,) = document.inputs
    assert config.plugin == "kubernetes_events"
    pod = one("Deployment")["spec"]["template"]["spec"]
    mounts = {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    for path in (config.settings.db, document.service.storage_path, document.outputs[0].settings.ca_file):
        assert os.path.dirname(path) in mounts


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder of nobody, where nobody gets to."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


def test_it_runs_as_nobody(state: Path) -> None:
    """As the manifest has it, without a cluster: it asks for the API server and says that it is not there."""
    inputs = (EVENTS / "fluent-bit.conf").read_text().partition("[OUTPUT]")[0]
    inputs = inputs.replace("/var/lib/podwitness", str(state)).replace("2020", str(free_port()))
    (state / "main.conf").write_text(
        inputs.replace("kube_events\n", "kube_events\n    Kube_URL https://127.0.0.1:9\n")
        + "[OUTPUT]\n    Name null\n    Match *\n"
    )
    # Reading everything, as the folder of this tree may be closed to others.
    read = "dac_read_search"
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    prefix += [f"--bounding-set=-all,+{read}", f"--inh-caps=-all,+{read}", f"--ambient-caps=+{read}"]
    with Agent("-c", str(state / "main.conf"), prefix=prefix) as agent:
        agent.wait_until_running()
        agent.log.wait_for("the API server at https://127.0.0.1:9 is not there")
        assert agent.stop() == 0
    assert (state / "events.db").stat().st_uid == NOBODY
